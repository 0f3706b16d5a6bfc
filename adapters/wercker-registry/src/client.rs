//! One way out for all requests: bounded in time and size, to allowed addresses.

use crate::{
    RegistryConfig,
    error::{FIND, answered, elsewhere, invalid, refused, too_large, unanswered},
    gate::Gate,
};
use bytes::Bytes;
use kiln::{Error, ErrorKind, Result, Secret};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue, LOCATION},
    redirect::Policy,
};
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const ANSWER_MAX: usize = 256 * 1024;
/// How many redirects are followed.
const REDIRECTS_MAX: usize = 5;
/// How long an archive may take to be sent.
const SEND: Duration = Duration::from_secs(600);

/// A client of one registry.
#[derive(Clone)]
pub(crate) struct Outward {
    client: Client,
    gate: Gate,
    timeout: Duration,
}

impl std::fmt::Debug for Outward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outward").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Outward {
    pub(crate) fn new(config: &RegistryConfig) -> Result<Self> {
        let gate = Gate::new(config.allow_private_network);
        let client = Client::builder()
            .dns_resolver(gate.clone())
            .redirect(Policy::none())
            // A proxy would resolve names itself, where nobody judges them.
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Unexpected, "HttpRegistry::new", "no HTTP client").source(e)
            })?;
        Ok(Self { client, gate, timeout: config.timeout() })
    }

    /// What is at a URL; none if there is nothing. Redirects are judged like the URL itself, and
    /// the token goes to its host alone.
    pub(crate) async fn get(&self, from: Url, token: Option<&Secret>) -> Result<Option<Vec<u8>>> {
        let work = async {
            let mut url = from.clone();
            for _ in 0..=REDIRECTS_MAX {
                let own = url.origin() == from.origin();
                let request = self.client.get(url.clone());
                let response = self.send(FIND, &url, request, token.filter(|_| own)).await?;
                match response.status() {
                    status if status.is_redirection() => url = next(&url, &response)?,
                    StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
                    _ => return self.body(FIND, &url, response).await.map(Some),
                }
            }
            Err(elsewhere(FIND, &url))
        };
        let slow = || {
            let message = "the registry of steps took too long";
            let host = from.host_str().unwrap_or_default();
            Error::new(ErrorKind::Timeout, FIND, message).with("host", host)
        };
        tokio::time::timeout(self.timeout, work).await.map_err(|_| slow())?
    }

    /// Sends JSON, and reads the answer of a success.
    pub(crate) async fn post(
        &self,
        op: &'static str,
        url: &Url,
        body: &impl serde::Serialize,
        token: &Secret,
    ) -> Result<Vec<u8>> {
        let request = self.client.post(url.clone()).timeout(self.timeout).json(body);
        let response = self.send(op, url, request, Some(token)).await?;
        self.body(op, url, response).await
    }

    /// Puts an archive where the registry said.
    pub(crate) async fn put(&self, op: &'static str, url: &Url, body: Bytes) -> Result<()> {
        let request = self.client.put(url.clone()).timeout(SEND).body(body);
        let response = self.send(op, url, request, None).await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(answered(op, url, response.status()))
        }
    }

    async fn send(
        &self,
        op: &'static str,
        url: &Url,
        request: RequestBuilder,
        token: Option<&Secret>,
    ) -> Result<Response> {
        self.gate.judge(url).map_err(|_| refused(op, url))?;
        let request = match token {
            Some(token) => request.header(AUTHORIZATION, bearer(op, token)?),
            None => request,
        };
        request.send().await.map_err(|e| unanswered(op, url, &e))
    }

    async fn body(&self, op: &'static str, url: &Url, mut response: Response) -> Result<Vec<u8>> {
        if !response.status().is_success() {
            return Err(answered(op, url, response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| unanswered(op, url, &e))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(too_large(op, url, ANSWER_MAX));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn bearer(op: &'static str, token: &Secret) -> Result<HeaderValue> {
    let bytes = [b"Bearer ", token.expose().trim_ascii()].concat();
    let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| {
        Error::new(
            ErrorKind::Invalid,
            op,
            "the token of the registry has characters that no header holds",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where a redirect leads; never from https to http.
fn next(url: &Url, response: &Response) -> Result<Url> {
    let to = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
    let to = to.and_then(|to| url.join(to).ok()).ok_or_else(|| elsewhere(FIND, url))?;
    let login = !to.username().is_empty() || to.password().is_some();
    match (to.scheme(), url.scheme()) {
        _ if login => Err(elsewhere(FIND, url)),
        ("https", _) | ("http", "http") => Ok(to),
        _ => Err(elsewhere(FIND, url)),
    }
}

/// Checks the URL of a registry.
pub(crate) fn base(text: &str, http: bool) -> Result<Url> {
    let url =
        Url::parse(text).map_err(|_| invalid("the URL of the registry of steps cannot be read"))?;
    match url.scheme() {
        "https" => {}
        "http" if http => {}
        "http" => {
            return Err(invalid("the registry of steps is not reached by https")
                .hint("Set `allow_http`, if nobody reads along."));
        }
        _ => return Err(invalid("the URL of the registry of steps begins with `https:`")),
    }
    let login = !url.username().is_empty() || url.password().is_some();
    if !url.has_host() || login || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(
            "the URL of the registry of steps has a host, and neither login nor query",
        ));
    }
    Ok(url)
}
