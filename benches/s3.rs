//! How fast artifacts go to a bucket and come back, against the same client without Kiln in the same
//! run, and in how much memory. Run again as a child it puts one artifact and tells its memory.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use kiln::{
    BuildId, RelPath,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use kiln_s3::{Credentials, S3Artifacts, S3Config};
use object_store::{
    ObjectStoreExt, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder, Checksum},
    path::Path,
};
use serde_json::Value;
use std::{process::Command, time::Instant};

/// Set for a child: how many MiB it puts.
const CHILD: &str = "KILN_BENCH_S3";
const MIB: usize = 1 << 20;
/// How long an artifact is, in MiB.
const LONG: usize = 256;
const PART: usize = 8 * MIB;

/// The S3 server of the tests.
fn service() -> Option<Value> {
    let path = std::env::var_os("KILN_TEST_SERVICES")?;
    let all: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    all["services"].get("s3").cloned()
}

fn text(service: &Value, field: &str) -> String {
    service[field].as_str().unwrap_or_default().to_owned()
}

fn kiln(service: &Value) -> S3Artifacts {
    let [bucket, url, region] = ["bucket", "url", "region"].map(|field| text(service, field));
    let address = format!("s3://{bucket}/bench?endpoint={url}&region={region}");
    let config = S3Config::parse(&address).expect("the address of the service");
    let [key, secret] = ["access_key", "secret_key"].map(|field| text(service, field));
    S3Artifacts::new(&config, &Credentials::new(key, secret)).expect("a store")
}

fn plain(service: &Value) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(text(service, "url"))
        .with_allow_http(true)
        .with_bucket_name(text(service, "bucket"))
        .with_region(text(service, "region"))
        .with_access_key_id(text(service, "access_key"))
        .with_secret_access_key(text(service, "secret_key"))
        .with_checksum_algorithm(Checksum::SHA256)
        .build()
        .expect("a client")
}

fn key() -> ArtifactKey {
    let build = BuildId::new("b").expect("a legal name");
    ArtifactKey { build, name: RelPath::new("x").expect("a legal path") }
}

/// So many MiB in pieces of 64 KiB.
fn body(mib: usize) -> ByteStream {
    let piece = Bytes::from(vec![7; 64 * 1024]);
    stream::iter((0..mib * 16).map(move |_| Ok(piece.clone()))).boxed()
}

/// Memory of this process in kB: the highest so far, or what is in use.
fn memory_kb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0.0)
}

async fn put_plain(client: &AmazonS3, path: &Path) {
    let upload = client.put_multipart(path).await.expect("an upload");
    let mut writing = WriteMultipart::new_with_chunk_size(upload, PART);
    let mut body = body(LONG);
    while let Some(piece) = body.try_next().await.expect("the body is ours") {
        writing.wait_for_capacity(3).await.expect("parts arrive");
        writing.write(&piece);
    }
    writing.finish().await.expect("the upload is whole");
}

async fn get_plain(client: &AmazonS3, path: &Path) {
    let mut stream = client.get(path).await.expect("it is there").into_stream();
    while stream.try_next().await.expect("it comes").is_some() {}
}

async fn get_kiln(store: &S3Artifacts) {
    let mut stream = store.get(&key()).await.expect("it is there");
    while stream.try_next().await.expect("it comes").is_some() {}
}

async fn seconds(work: impl Future<Output = ()>) -> f64 {
    let began = Instant::now();
    work.await;
    began.elapsed().as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

#[tokio::main]
async fn main() {
    let Some(service) = service() else {
        println!("s3: skipped: no S3 server runs; `cargo xtask services up s3` starts one");
        return;
    };
    let store = kiln(&service);
    if let Some(mib) = std::env::var(CHILD).ok().and_then(|mib| mib.parse().ok()) {
        store.put(&key(), body(1)).await.expect("a small artifact");
        let before = memory_kb("VmRSS:");
        store.put(&key(), body(mib)).await.expect("a large artifact");
        println!("{}", memory_kb("VmHWM:") - before);
        store.forget(&key().build).await.expect("it is ours");
        return;
    }
    let (client, path) = (plain(&service), Path::from("bench/plain"));
    let mut ratios = [Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        let put = async { drop(store.put(&key(), body(LONG)).await.expect("an artifact")) };
        let (ours, theirs) = (seconds(put).await, seconds(put_plain(&client, &path)).await);
        ratios[0].push(theirs / ours);
        rates[0].push((LONG * MIB) as f64 / 1e6 / ours);
        let (ours, theirs) =
            (seconds(get_kiln(&store)).await, seconds(get_plain(&client, &path)).await);
        ratios[1].push(theirs / ours);
        rates[1].push((LONG * MIB) as f64 / 1e6 / ours);
        store.forget(&key().build).await.expect("it is ours");
    }
    client.delete(&path).await.expect("it is ours");
    let [put, get] = rates.map(median);
    println!("s3: {put:.0} MB/s there, {get:.0} MB/s back, with the server on this machine");
    let [put, get] = ratios.map(median);
    println!("promise s3_put {put:.2} >= 0.75 of-object_store");
    println!("promise s3_get {get:.2} >= 0.6 of-object_store");
    let program = std::env::current_exe().expect("this program has a path");
    let out = Command::new(program).env(CHILD, "1024").output().expect("this program runs");
    let grown: f64 = String::from_utf8_lossy(&out.stdout).trim().parse().expect("a number");
    println!("promise s3_put_memory {:.0} <= 64 MiB", grown / 1024.0);
}
