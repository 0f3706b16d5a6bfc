//! One request, and its answer.

use crate::{
    client::RemoteClient,
    error::{of_answer, of_network, of_status},
    version,
};
use bytes::{Bytes, BytesMut};
use kiln::{BuildId, Result, port::Lease};
use reqwest::{RequestBuilder, Response, header::CONTENT_TYPE};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// The header that shows a lease.
const LEASE: &str = "kiln-lease";
/// How long a server may take for what has not to wait for news.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How long a request may wait for news; a server answers by itself before.
const PATIENCE_MAX: Duration = Duration::from_secs(50);
/// How many bytes of an answer are read at once.
const ANSWER_MAX: usize = 64 << 20;
/// How many bytes of what went wrong.
const PROBLEM_MAX: usize = 64 << 10;

/// A request that is being made.
#[derive(Debug)]
pub(crate) struct Ask<'c> {
    client: &'c RemoteClient,
    op: &'static str,
    request: RequestBuilder,
    time: Option<Duration>,
}

/// How long to ask the server to wait of all the patience that is left, in milliseconds.
pub(crate) fn part_of(patience: Duration) -> u64 {
    patience.min(PATIENCE_MAX).as_millis() as u64
}

impl<'c> Ask<'c> {
    pub(crate) fn new(client: &'c RemoteClient, op: &'static str, request: RequestBuilder) -> Self {
        Self { client, op, request, time: Some(ANSWER_TIME) }
    }

    /// Shows the lease of a build, if there is one.
    pub(crate) fn of(mut self, build: &BuildId) -> Self {
        if let Some(lease) = self.client.shown(build) {
            self.request = self.request.header(LEASE, lease);
        }
        self
    }

    /// Shows just this lease.
    pub(crate) fn with(mut self, lease: &Lease) -> Self {
        if let Some(lease) = self.client.show(lease) {
            self.request = self.request.header(LEASE, lease);
        }
        self
    }

    pub(crate) fn query<T: Serialize + ?Sized>(mut self, query: &T) -> Self {
        self.request = self.request.query(query);
        self
    }

    pub(crate) fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub(crate) fn bytes(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header(CONTENT_TYPE, "application/octet-stream").body(body);
        self
    }

    /// Grants time on top, for what waits for news.
    pub(crate) fn patience(mut self, ms: u64) -> Self {
        self.time = self.time.map(|time| time + Duration::from_millis(ms));
        self
    }

    /// Sets no bound: whoever calls watches what comes and goes.
    pub(crate) fn unbounded(mut self) -> Self {
        self.time = None;
        self
    }

    /// Sends the request; the answer is one of success and its body is to come.
    pub(crate) async fn send(self) -> Result<Response> {
        let Self { client, op, mut request, time } = self;
        if let Some(time) = time {
            request = request.timeout(time);
        }
        let server = client.server();
        let response = request.send().await.map_err(|e| of_network(op, server, e))?;
        let status = response.status();
        if status.is_success() {
            version::check(op, response.headers())?;
            return Ok(response);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_problem = kind.is_some_and(|k| k.starts_with("application/problem+json"));
        let body = whole(op, server, response, PROBLEM_MAX).await.unwrap_or_default();
        Err(of_status(op, server, status, is_problem, &body))
    }

    /// Sends the request and reads the whole answer.
    pub(crate) async fn whole(self) -> Result<(reqwest::header::HeaderMap, Bytes)> {
        let (op, client) = (self.op, self.client);
        let response = self.send().await?;
        let headers = response.headers().clone();
        Ok((headers, whole(op, client.server(), response, ANSWER_MAX).await?))
    }

    /// Sends the request and reads what the answer says in JSON.
    pub(crate) async fn told<T: DeserializeOwned>(self) -> Result<T> {
        let (op, client) = (self.op, self.client);
        let (_, body) = self.whole().await?;
        serde_json::from_slice(&body).map_err(|e| {
            of_answer(op, client.server(), "the answer of the server is not what it should be")
                .source(e)
                .status(kiln::Status::Permanent)
        })
    }

    /// Sends a request whose answer says nothing but that it is done.
    pub(crate) async fn done(self) -> Result<()> {
        self.whole().await.map(drop)
    }
}

async fn whole(
    op: &'static str,
    server: &str,
    mut response: Response,
    bytes_max: usize,
) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(bytes) = response.chunk().await.map_err(|e| of_network(op, server, e))? {
        if all.len() + bytes.len() > bytes_max {
            return Err(of_answer(op, server, "the answer of the server is too long"));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}
