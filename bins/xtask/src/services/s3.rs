//! An S3 server: s3s-fs, which keeps buckets as directories and checks signatures.

use super::Entry;
use super::start::{LOCALHOST, Place, password};
use crate::error::{Context, Failure, Result};
use crate::process::program;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Later ones need a newer compiler.
const VERSION: &str = "0.14.1";
const BUCKET: &str = "kiln";
/// Below this name the server knows buckets by name; nothing resolves it, so tests ask for it
/// through the server itself as a proxy.
const DOMAIN: &str = "s3.kiln.test";

/// Starts a server with one bucket.
pub(super) fn start(place: &Place<'_>) -> Result<Entry> {
    let program = find_or_build(place)?;
    let (key, secret) = (password()?, password()?);
    let root = place.data.join("buckets");
    fs::create_dir_all(root.join(BUCKET)).context("cannot create the bucket")?;
    let (addr, process) = place.serve(
        LOCALHOST,
        |addr| {
            let mut command = Command::new(&program);
            command.args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
            command.args(["--access-key", &key, "--secret-key", &secret]);
            command.args(["--domain", &addr.to_string(), "--domain", DOMAIN]).arg(&root);
            Ok(command)
        },
        accepts,
    )?;
    Ok(place
        .entry(addr, &format!("http://{addr}"))
        .with_process(&process)
        .with("bucket", BUCKET)
        .with("domain", DOMAIN)
        .with("region", "us-east-1")
        .with("access_key", key)
        .with("secret_key", secret))
}

/// It is no package, so cargo builds it once; that takes a few minutes.
fn find_or_build(place: &Place<'_>) -> Result<PathBuf> {
    let tools = place.layout.tools();
    let built = tools.join("bin/s3s-fs");
    if let Some(found) = program("s3s-fs").or_else(|| built.is_file().then(|| built.clone())) {
        return Ok(found);
    }
    println!("{:<14} building s3s-fs {VERSION} once, which takes a few minutes", place.name);
    let status = place
        .layout
        .cargo(&[
            "install",
            "--quiet",
            "--locked",
            "--version",
            VERSION,
            "--features",
            "binary",
            "s3s-fs",
        ])
        .arg("--root")
        .arg(&tools)
        .status()
        .context("cannot run cargo install")?;
    if status.success() && built.is_file() {
        return Ok(built);
    }
    Err(Failure::task("cargo install s3s-fs failed, see above"))
}

fn accepts(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
}
