//! Logs that are written to files and move to a bucket when they are over, on a real S3 server:
//! the whole suite of logs.

use kiln::{BuildId, archive::ArchivedLogs};
use kiln_conformance::{Fresh, log::AtClose};
use kiln_files::FileLogs;
use kiln_s3::{Credentials, S3Artifacts, S3Config};
use serde_json::Value;
use std::{path::Path, sync::Arc};

/// Where the archive of a test is; says so if there is no server.
fn bucket() -> Option<(S3Config, Credentials)> {
    const TEST: &str = "logs archived in a bucket";
    let real = std::env::var_os("KILN_TEST_REAL").is_some_and(|v| v == "1");
    let Some(path) = std::env::var_os("KILN_TEST_SERVICES").filter(|_| real) else {
        println!("SKIPPED: {TEST}: KILN_TEST_REAL or KILN_TEST_SERVICES is not set");
        return None;
    };
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let service = &all["services"]["s3"];
    if service.is_null() {
        println!("SKIPPED: {TEST}: the service s3 does not run");
        return None;
    }
    let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
    let [bucket, url, region] = ["bucket", "url", "region"].map(text);
    // Short: the server of the tests makes one file name of a whole key.
    let prefix = &BuildId::random().to_string()[..16];
    let address = format!("s3://{bucket}/{prefix}?endpoint={url}&region={region}");
    let credentials = Credentials::new(text("access_key"), text("secret_key"));
    Some((S3Config::parse(&address).unwrap(), credentials))
}

fn open(dir: &Path, config: &S3Config, credentials: &Credentials) -> Arc<AtClose> {
    let files = Arc::new(FileLogs::open(dir).unwrap());
    let store = Arc::new(S3Artifacts::new(config, credentials).unwrap());
    Arc::new(AtClose(ArchivedLogs::new(files.clone(), files, store)))
}

fn fresh() -> Option<Fresh<AtClose>> {
    let (config, credentials) = bucket()?;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let open = move || open(&path, &config, &credentials);
    Some(Fresh::new(open()).reopen(move || std::future::ready(open())).keep(dir))
}

mod files_and_s3s {
    use super::*;

    kiln_conformance::log_suite!(match fresh() {
        Some(fresh) => fresh,
        None => return,
    });
}
