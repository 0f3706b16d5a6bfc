//! The client: few kinds of requests, each with Kiln's errors.

use crate::{
    config::S3Config,
    credentials::Credentials,
    error::{found, translate},
    keys::Keys,
    record::RECORD_MAX,
    transport::Transport,
};
use bytes::Bytes;
use futures::{
    TryStreamExt,
    stream::{BoxStream, StreamExt},
};
use kiln::{Error, ErrorKind, Result};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt,
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, Checksum},
    path::Path,
};
use std::{fs::File, io::Read, time::Duration};
use url::Url;

const OP: &str = "S3Artifacts::new";
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How large a file of certificates may be, in bytes.
const CA_MAX: u64 = 4 << 20;
/// How often a part of a stream is sent or read again.
const TRIES: usize = 3;

#[derive(Debug)]
pub(crate) struct Client {
    bucket: String,
    pub(crate) keys: Keys,
    pub(crate) part_bytes: usize,
    pub(crate) patience: Duration,
    /// For calls that the layers can repeat: never tries again by itself.
    once: AmazonS3,
    /// For the parts of a stream, which no layer can repeat, since the stream is gone: a part that
    /// was refused is sent again, and a stream that broke is read on from where it was.
    pub(crate) streams: AmazonS3,
    /// Signs links only.
    pub(crate) links: AmazonS3,
}

impl Client {
    pub(crate) fn new(config: &S3Config, credentials: &Credentials) -> Result<Self> {
        config.check()?;
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(Error::new(ErrorKind::Invalid, OP, "the access key is no text")),
        };
        let options = options(config)?;
        let make = |server: Option<&Url>, tries: usize| {
            let http = server.is_some_and(|url| url.scheme() == "http");
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&config.bucket)
                .with_region(&config.region)
                // The endpoint is taken as it is when the bucket is said to be in it.
                .with_virtual_hosted_style_request(true)
                .with_endpoint(config.bucket_at(server))
                .with_access_key_id(text(credentials.key.expose())?)
                .with_secret_access_key(text(credentials.secret.expose())?)
                .with_checksum_algorithm(Checksum::SHA256)
                // One by one: not every server takes many at once.
                .with_disable_bulk_delete(true)
                .with_client_options(options.clone().with_allow_http(http))
                .with_http_connector(Transport { patience: config.patience })
                .with_retry(RetryConfig {
                    backoff: BackoffConfig::default(),
                    max_retries: tries,
                    retry_timeout: config.patience,
                });
            if let Some(token) = &credentials.token {
                builder = builder.with_token(text(token.expose())?);
            }
            builder.build().map_err(|e| translate(OP, &config.bucket, e))
        };
        let endpoint = config.endpoint.as_ref();
        Ok(Self {
            bucket: config.bucket.clone(),
            keys: Keys::new(&config.prefix),
            part_bytes: config.part_bytes,
            patience: config.patience,
            once: make(endpoint, 0)?,
            streams: make(endpoint, TRIES)?,
            links: make(config.links.as_ref().or(endpoint), 0)?,
        })
    }

    /// An error of the client, in an operation on a key of the bucket.
    pub(crate) fn wrong(&self, op: &'static str, key: &Path, e: object_store::Error) -> Error {
        translate(op, key.as_ref(), e).with("bucket", &self.bucket)
    }

    /// Writes an object as a whole, as a part of a call that cannot be repeated.
    pub(crate) async fn put(
        &self,
        op: &'static str,
        key: &Path,
        bytes: impl Into<object_store::PutPayload>,
    ) -> Result<()> {
        let put = self.streams.put(key, bytes.into()).await;
        put.map(drop).map_err(|e| self.wrong(op, key, e))
    }

    /// A small object, if it is there.
    pub(crate) async fn small(&self, op: &'static str, key: &Path) -> Result<Option<Bytes>> {
        let get = async {
            let got = self.once.get(key).await.map_err(|e| self.wrong(op, key, e))?;
            if got.meta.size > RECORD_MAX {
                let message = "the record of an artifact is not what was written";
                return Err(Error::new(ErrorKind::Corrupt, op, message).with("key", key));
            }
            got.bytes().await.map_err(|e| self.wrong(op, key, e))
        };
        match tokio::time::timeout(self.patience, get).await {
            Ok(got) => found(got),
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, op, "the server does not answer")
                    .with("key", key))
            }
        }
    }

    /// An object as a stream, if it is there.
    pub(crate) async fn large(&self, op: &'static str, key: &Path) -> Result<Option<GetResult>> {
        found(self.streams.get(key).await.map_err(|e| self.wrong(op, key, e)))
    }

    /// Whether an object is there.
    pub(crate) async fn exists(&self, op: &'static str, key: &Path) -> Result<bool> {
        let head = self.once.head(key).await.map_err(|e| self.wrong(op, key, e));
        Ok(found(head)?.is_some())
    }

    /// Removes an object; one that is not there too.
    pub(crate) async fn delete(&self, op: &'static str, key: &Path) -> Result<()> {
        let deleted = self.once.delete(key).await.map_err(|e| self.wrong(op, key, e));
        found(deleted).map(drop)
    }

    /// The objects below a key, page by page.
    pub(crate) fn list(
        &self,
        op: &'static str,
        key: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shown, bucket) = (key.to_string(), self.bucket.clone());
        let wrong = move |e| translate(op, &shown, e).with("bucket", &bucket);
        self.once.list(Some(key)).map_err(wrong).boxed()
    }

    /// The objects below a key whose keys come after another, in their order.
    pub(crate) fn list_after(
        &self,
        op: &'static str,
        key: &Path,
        after: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shown, bucket) = (key.to_string(), self.bucket.clone());
        let wrong = move |e| translate(op, &shown, e).with("bucket", &bucket);
        self.once.list_with_offset(Some(key), after).map_err(wrong).boxed()
    }
}

fn options(config: &S3Config) -> Result<ClientOptions> {
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT)
        // A total time would end large artifacts; the transport watches each step instead.
        .with_timeout_disabled();
    // A proxy that is used for nothing keeps the environment's out.
    let options = match &config.proxy {
        Some(proxy) => options.with_proxy_url(proxy.as_str()),
        None => {
            options.with_proxy_url("http://127.0.0.1:9").with_proxy_excludes("*,0.0.0.0/0,::/0")
        }
    };
    let Some(path) = &config.ca else { return Ok(options) };
    let fail =
        |message: &str| Error::new(ErrorKind::Invalid, OP, message).with("path", path.display());
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(CA_MAX).read_to_end(&mut pem));
    read.map_err(|e| fail("the file of certificates cannot be read").source(e))?;
    let all = Certificate::from_pem_bundle(&pem)
        .map_err(|e| fail("this is no file of certificates in PEM").source(e.to_string()))?;
    if all.is_empty() {
        return Err(fail("the file has no certificate"));
    }
    Ok(all.into_iter().fold(options, ClientOptions::with_root_certificate))
}
