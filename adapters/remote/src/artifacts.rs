use crate::{
    ask::Ask,
    client::RemoteClient,
    error::{of_answer, of_network},
    wire::{ArtifactTold, ArtifactsTold, CachesTold},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    future::{Either, select},
    stream,
};
use kiln::{
    Artifact, BuildId, CacheKey, Error, ErrorKind, Result,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use reqwest::{Body, Method, Response};
use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// How long nothing may move before the server is taken for stuck.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The artifacts of a server, of builds that are leased to this process. Bytes are streamed.
#[derive(Clone, Debug)]
pub struct RemoteArtifacts(RemoteClient);

impl RemoteArtifacts {
    /// The artifacts behind a client.
    pub fn new(client: RemoteClient) -> Self {
        Self(client)
    }
}

impl RemoteArtifacts {
    /// In whose name artifacts may be read: what is of no leased build may be an upload or a cache
    /// that the plan of one names, and there are as many of those as slots at most.
    fn readers(&self, build: &BuildId) -> Vec<Option<BuildId>> {
        let leased = self.0.leased();
        if leased.is_empty() || leased.contains(build) {
            return vec![None];
        }
        leased.into_iter().map(Some).collect()
    }

    /// In whose name artifacts are written: a cache belongs to no build, and a body can be sent only
    /// once, so who may is asked first.
    async fn writer(&self, build: &BuildId) -> Result<Option<BuildId>> {
        if !CacheKey::is_reserved(build) {
            return Ok(None);
        }
        let path = ["builds", build.as_str(), "artifacts"];
        let mut refused = None;
        for by in self.readers(build) {
            let ask = self.read("ArtifactStore::put", &path, build, by.as_ref());
            let told: Result<ArtifactsTold> = ask.told().await;
            match told {
                Ok(_) => return Ok(by),
                Err(e) if is_refused_by(&e) => refused = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(refused.unwrap_or_else(|| {
            Error::new(ErrorKind::Denied, "ArtifactStore::put", "nothing is leased")
        }))
    }

    /// A request for artifacts, in the name of a leased build where one is given.
    fn read<'a>(
        &'a self,
        op: &'static str,
        path: &[&str],
        build: &BuildId,
        by: Option<&BuildId>,
    ) -> Ask<'a> {
        let ask = self.0.ask(op, Method::GET, path).of(by.unwrap_or(build));
        match by {
            Some(by) => ask.query(&[("for", by.as_str())]),
            None => ask,
        }
    }
}

/// Whether another leased build may be the one that counts.
fn is_refused<T>(answer: &Result<T>) -> bool {
    answer.as_ref().is_err_and(is_refused_by)
}

fn is_refused_by(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::Conflict)
}

/// What became of a body that is sent.
#[derive(Debug, Default)]
struct Sent {
    pieces: AtomicU64,
    error: Mutex<Option<Error>>,
}

impl Sent {
    /// A body whose error, if it has one, is kept here and breaks the request off.
    fn watch(self: &Arc<Self>, body: ByteStream) -> Body {
        let sent = self.clone();
        Body::wrap_stream(body.map(move |piece| {
            sent.pieces.fetch_add(1, Ordering::Relaxed);
            piece.map_err(|e| {
                *sent.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                "the body failed"
            })
        }))
    }

    fn error(&self) -> Option<Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns when nothing has moved for long.
    async fn stuck(&self) {
        let mut seen = u64::MAX;
        loop {
            let now = self.pieces.load(Ordering::Relaxed);
            if now == seen {
                return;
            }
            seen = now;
            sleep(STUCK_AFTER).await;
        }
    }
}

#[async_trait]
impl ArtifactStore for RemoteArtifacts {
    async fn put(&self, key: &ArtifactKey, body: ByteStream) -> Result<Artifact> {
        const OP: &str = "ArtifactStore::put";
        let sent = Arc::new(Sent::default());
        let path = ["builds", key.build.as_str(), "artifact"];
        let by = self.writer(&key.build).await?;
        let ask = self.0.ask(OP, Method::PUT, &path).of(by.as_ref().unwrap_or(&key.build));
        let mut query = vec![("name", key.name.as_str())];
        query.extend(by.as_ref().map(|by| ("for", by.as_str())));
        let ask = ask.unbounded().query(&query).bytes(sent.watch(body));
        let put = pin!(ask.told::<ArtifactTold>());
        let told = match select(put, pin!(sent.stuck())).await {
            Either::Left((told, _)) => told,
            Either::Right(_) => {
                let message = "the server takes nothing any more";
                Err(Error::new(ErrorKind::Timeout, OP, message).with("server", self.0.server()))
            }
        };
        match (told, sent.error()) {
            (Ok(told), _) => Ok(told.artifact),
            // What was to be sent could not be read: that is the trouble, not the server.
            (Err(_), Some(e)) | (Err(e), None) => Err(e),
        }
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        const OP: &str = "ArtifactStore::get";
        let server = self.0.server().to_owned();
        let stuck = |server: &str| of_answer(OP, server, "the server does not answer");
        let path = ["builds", key.build.as_str(), "artifact"];
        let mut response = Err(stuck(&server));
        for by in self.readers(&key.build) {
            let ask = self.read(OP, &path, &key.build, by.as_ref()).unbounded();
            let ask = ask.query(&[("name", key.name.as_str())]);
            response = timeout(STUCK_AFTER, ask.send()).await.map_err(|_| stuck(&server))?;
            if !is_refused(&response) {
                break;
            }
        }
        let response = response?;
        Ok(stream::unfold(Some((response, server)), move |state| async move {
            let (mut response, server) = state?;
            let next = match timeout(STUCK_AFTER, piece(&mut response)).await {
                Err(_) => Err(stuck(&server)),
                Ok(Err(e)) => Err(of_network(OP, &server, e)),
                Ok(Ok(None)) => return None,
                Ok(Ok(Some(bytes))) => Ok(bytes),
            };
            let more = next.is_ok().then_some((response, server));
            Some((next, more))
        })
        .boxed())
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        let path = ["builds", build.as_str(), "artifacts"];
        let mut told: Result<ArtifactsTold> =
            Err(Error::new(ErrorKind::Denied, "ArtifactStore::list", "nothing is leased"));
        for by in self.readers(build) {
            told = self.read("ArtifactStore::list", &path, build, by.as_ref()).told().await;
            if !is_refused(&told) {
                break;
            }
        }
        let told = told?;
        Ok(told.artifacts)
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let path = ["builds", build.as_str(), "artifacts"];
        self.0.ask("ArtifactStore::forget", Method::DELETE, &path).of(build).done().await
    }

    async fn caches(&self) -> Result<Vec<BuildId>> {
        let ask = self.0.ask("ArtifactStore::caches", Method::GET, &["caches"]);
        Ok(ask.told::<CachesTold>().await?.caches)
    }
}

async fn piece(response: &mut Response) -> reqwest::Result<Option<Bytes>> {
    response.chunk().await
}
