//! What the tests are made of: the server, a prefix of it for each test, and a client that looks at
//! what is stored.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use kiln::{
    BuildId, RelPath, Result,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use kiln_s3::{Credentials, S3Artifacts, S3Config};
use object_store::{
    ObjectStore, ObjectStoreExt,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use serde_json::Value;
use std::sync::Arc;

/// A prefix on the server that only one test uses.
pub(crate) struct Place {
    pub(crate) config: S3Config,
    pub(crate) domain: String,
    key: String,
    secret: String,
    client: AmazonS3,
}

/// A prefix on the server; says so if there is no server.
pub(crate) fn place(test: &str) -> Option<Place> {
    let real = std::env::var_os("KILN_TEST_REAL").is_some_and(|v| v == "1");
    let Some(path) = std::env::var_os("KILN_TEST_SERVICES").filter(|_| real) else {
        println!("SKIPPED: {test}: KILN_TEST_REAL or KILN_TEST_SERVICES is not set");
        return None;
    };
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let service = &all["services"]["s3"];
    let Some(url) = service["url"].as_str() else {
        println!("SKIPPED: {test}: the service s3 does not run");
        return None;
    };
    let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
    let address = format!(
        "s3://{}/{}/x?endpoint={url}&region={}",
        text("bucket"),
        // Short, since the server makes file names of keys, longer than they are.
        &BuildId::random().as_str()[..16],
        text("region")
    );
    let config = S3Config::parse(&address).unwrap();
    let client = AmazonS3Builder::new()
        .with_endpoint(url)
        .with_allow_http(true)
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_access_key_id(text("access_key"))
        .with_secret_access_key(text("secret_key"))
        .with_disable_bulk_delete(true)
        .build()
        .unwrap();
    let (key, secret) = (text("access_key"), text("secret_key"));
    Some(Place { config, domain: text("domain"), key, secret, client })
}

impl Place {
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::new(&*self.key, &*self.secret)
    }

    /// The adapter, opened once more.
    pub(crate) fn open(&self) -> Arc<S3Artifacts> {
        Arc::new(S3Artifacts::new(&self.config, &self.credentials()).unwrap())
    }

    /// The keys below the prefix that are stored now, without it, in order.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let prefix = Path::from(&*self.config.prefix);
        let found: Vec<_> = self.client.list(Some(&prefix)).try_collect().await.unwrap();
        let short = |path: &Path| path.as_ref().strip_prefix(prefix.as_ref()).unwrap()[1..].into();
        let mut keys: Vec<String> = found.iter().map(|o| short(&o.location)).collect();
        keys.sort();
        keys
    }

    fn path(&self, key: &str) -> Path {
        Path::from(format!("{}/{key}", self.config.prefix))
    }

    pub(crate) async fn read(&self, key: &str) -> Bytes {
        self.client.get(&self.path(key)).await.unwrap().bytes().await.unwrap()
    }

    pub(crate) async fn write(&self, key: &str, bytes: impl Into<Bytes>) {
        self.client.put(&self.path(key), bytes.into().into()).await.unwrap();
    }

    pub(crate) async fn remove(&self, key: &str) {
        self.client.delete(&self.path(key)).await.unwrap();
    }
}

/// A test on a place of the server, or none where there is no server.
pub(crate) fn on_the_server<F: Future<Output = ()>>(test: &str, work: impl FnOnce(Place) -> F) {
    if let Some(place) = place(test) {
        kiln_conformance::run(test, work(place));
    }
}

pub(crate) fn build(name: &str) -> BuildId {
    BuildId::new(name).unwrap()
}

/// The key of an artifact of the build `b`.
pub(crate) fn key(name: &str) -> ArtifactKey {
    ArtifactKey { build: build("b"), name: RelPath::new(name).unwrap() }
}

pub(crate) fn body(bytes: impl Into<Bytes>) -> ByteStream {
    stream::iter([Ok(bytes.into())]).boxed()
}

/// So many bytes, a piece of 64 KiB at a time, each with its number in it.
pub(crate) fn long_body(bytes: u64) -> ByteStream {
    const PIECE: u64 = 64 * 1024;
    let piece = move |i: u64| {
        let mut piece = vec![i as u8; PIECE.min(bytes - i * PIECE) as usize];
        let number = i.to_le_bytes();
        let n = piece.len().min(8);
        piece[..n].copy_from_slice(&number[..n]);
        Ok(Bytes::from(piece))
    };
    stream::iter(0..bytes.div_ceil(PIECE)).map(piece).boxed()
}

pub(crate) async fn get(store: &S3Artifacts, key: &ArtifactKey) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = store.get(key).await?.try_collect().await?;
    Ok(pieces.concat())
}
