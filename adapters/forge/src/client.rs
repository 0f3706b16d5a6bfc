//! One way out for all requests: bounded in time and size, to allowed addresses, never redirected.

use crate::{
    error::{invalid, refused, unanswered},
    gate::Gate,
};
use kiln::{Error, ErrorKind, Result, SecretRef, port::Secrets};
use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect::Policy,
};
use std::time::Duration;

/// How long a connection, and how long a whole request may take.
const TIMES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15));
/// How much of an answer is read.
const ANSWER_MAX: usize = 4096;

/// A client of one receiver.
#[derive(Clone)]
pub(crate) struct Outward {
    client: Client,
    gate: Gate,
}

impl Outward {
    pub(crate) fn new(private: bool) -> Result<Self> {
        let gate = Gate::new(private);
        let client = Client::builder()
            .dns_resolver(gate.clone())
            .redirect(Policy::none())
            // A proxy would resolve names itself, where nobody judges them.
            .no_proxy()
            .connect_timeout(TIMES.0)
            .timeout(TIMES.1)
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Unexpected, "Notifier", "no HTTP client").source(e)
            })?;
        Ok(Self { client, gate })
    }

    /// Sends JSON; returns the status, and the beginning of the answer.
    pub(crate) async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>)> {
        self.gate.judge(url).map_err(|_| refused(url))?;
        let request = self.client.post(url.clone()).headers(headers).body(body);
        let json = HeaderValue::from_static("application/json");
        let sent = request.header(CONTENT_TYPE, json).send().await;
        let mut answer = sent.map_err(|e| unanswered(url, &e))?;
        let (status, mut text) = (answer.status(), Vec::new());
        // Of an answer that is fine, nobody wants a word; one that breaks off is still that answer.
        while !status.is_success() && text.len() < ANSWER_MAX {
            let Ok(Some(chunk)) = answer.chunk().await else { break };
            text.extend_from_slice(&chunk[..chunk.len().min(ANSWER_MAX - text.len())]);
        }
        Ok((status, text))
    }
}

/// Checks the URL of a receiver.
pub(crate) fn receiver(text: &str, http: bool) -> Result<Url> {
    let url = Url::parse(text).map_err(|_| invalid("the URL of a receiver cannot be read"))?;
    match url.scheme() {
        "https" => {}
        "http" if http => {}
        "http" => {
            return Err(invalid("the receiver is not reached by https")
                .hint("Set `allow_http`, if nobody reads along."));
        }
        _ => return Err(invalid("the URL of a receiver begins with `https:`")),
    }
    if !url.has_host() || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the URL of a receiver has a host, and no login"));
    }
    Ok(url)
}

/// The value of a secret, without the line end that files have. One that is missing may come.
pub(crate) async fn reveal(
    secrets: &dyn Secrets,
    owner: &kiln::Owner,
    name: &SecretRef,
) -> Result<kiln::Secret> {
    let secret = secrets.reveal(owner, name).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::Denied => e.status(kiln::Status::Temporary),
        _ => e,
    })?;
    let trimmed = secret.expose().trim_ascii_end();
    if trimmed.is_empty() {
        let error = crate::error::mendable(ErrorKind::Invalid, "the secret is empty");
        return Err(error.with("secret", name));
    }
    Ok(kiln::Secret::new(trimmed))
}
