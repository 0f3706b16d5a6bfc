//! Requests to the native API of a server, and its errors.

use super::Address;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use kiln::{Error, ErrorKind, Result, Secret, Status};
use reqwest::{
    Body, Method, RequestBuilder, Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

/// How long a server may take to take a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a server may be silent. A log that is followed is never silent for longer than 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest answer that is taken as a whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The longest description of an error that is shown.
const PROBLEM_CHARS_MAX: usize = 2000;

/// Speaks to one server, with one token. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: Address,
    http: reqwest::Client,
    /// For what is sent piece by piece: a server is silent until it has everything.
    sender: reqwest::Client,
}

/// An error as the server describes it (RFC 9457).
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    code: Option<ErrorKind>,
    #[serde(default)]
    hint: Option<String>,
}

impl Client {
    pub(crate) fn new(address: Address, token: Option<Secret>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let text = [b"Bearer ", token.expose()].concat();
            let mut value = HeaderValue::from_bytes(&text).map_err(|_| {
                Error::new(ErrorKind::Invalid, "kiln", "the token has characters no token has")
            })?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let build = |silence: Option<Duration>| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers.clone())
                .connect_timeout(CONNECT_TIME)
                .tcp_keepalive(Duration::from_secs(15))
                // A token is for the server that was named, and not for whom it sends us to.
                .redirect(redirect::Policy::none());
            if let Some(silence) = silence {
                builder = builder.read_timeout(silence);
            }
            if address.is_here() {
                builder = builder.no_proxy();
            }
            if let Some(path) = address.socket() {
                builder = builder.unix_socket(path);
            }
            builder.build().map_err(|e| {
                Error::new(ErrorKind::Unexpected, "kiln", "no connection can be prepared")
                    .source(e.to_string())
            })
        };
        Ok(Self { http: build(Some(SILENCE))?, sender: build(None)?, address })
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    fn url(&self, path: &[&str]) -> reqwest::Url {
        self.address.url(&[&["api", "v1"][..], path].concat())
    }

    /// A request for something below `/api/v1`.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// A request whose body takes its time.
    pub(crate) fn sending(&self, path: &[&str], body: Body) -> RequestBuilder {
        self.sender.post(self.url(path)).body(body)
    }

    /// Something beside the API, such as `healthz`.
    pub(crate) async fn look(&self, op: &'static str, name: &str) -> Result<Response> {
        self.send(op, self.http.get(self.address.url(&[name]))).await
    }

    /// Sends a request; an answer that is an error becomes one.
    pub(crate) async fn send(&self, op: &'static str, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.unreachable(op, e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let length_max = PROBLEM_CHARS_MAX * 8;
        let body = self.body(op, response, length_max).await.unwrap_or_default();
        Err(self.refused(op, status, &body))
    }

    /// Asks for something that is JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        op: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T> {
        let request = self.request(Method::GET, path).query(query);
        self.json(op, self.send(op, request).await?).await
    }

    /// Sends JSON. With a key the same request may be sent again.
    pub(crate) async fn post(
        &self,
        op: &'static str,
        path: &[&str],
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<Response> {
        let mut request = self.request(Method::POST, path).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(op, request).await
    }

    /// Reads an answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        op: &'static str,
        response: Response,
    ) -> Result<T> {
        let body = self.body(op, response, ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|e| {
            Error::new(ErrorKind::Unsupported, op, "the answer of the server is not understood")
                .with("server", self.address.name())
                .source(e.to_string())
                .hint("Is that a Kiln server? `kiln doctor` compares its version with this one.")
        })
    }

    async fn body(&self, op: &'static str, response: Response, max: usize) -> Result<Bytes> {
        let (mut all, mut pieces) = (BytesMut::new(), response.bytes_stream());
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.map_err(|e| self.unreachable(op, e))?);
            if all.len() > max {
                let message = "the answer of the server is too long";
                return Err(Error::new(ErrorKind::Exhausted, op, message).with("limit", max));
            }
        }
        Ok(all.freeze())
    }

    /// A connection that could not be made, or broke.
    pub(crate) fn unreachable(&self, op: &'static str, e: reqwest::Error) -> Error {
        let (message, hint) = match (e.is_connect(), e.is_timeout()) {
            (true, _) => ("the server cannot be reached", "Check the address, and that it runs."),
            (_, true) => ("the server does not answer", "Try again, or ask whoever runs it."),
            _ => ("the connection to the server broke", "Try again, or ask whoever runs it."),
        };
        let error = Error::new(ErrorKind::Unavailable, op, message);
        error.with("server", self.address.name()).source(chain(e.without_url())).hint(hint)
    }

    fn refused(&self, op: &'static str, status: StatusCode, body: &[u8]) -> Error {
        let problem: Option<Problem> = serde_json::from_slice(body).ok();
        let is_ours = problem.as_ref().is_some_and(|p| p.code.is_some());
        let problem = problem.unwrap_or_default();
        let kind = problem.code.unwrap_or_else(|| kind_of(status));
        let said = problem.detail.unwrap_or_else(|| match status.is_redirection() {
            true => format!("the server sends requests elsewhere (status {})", status.as_u16()),
            false => words(status, body),
        });
        let message: String = said.chars().take(PROBLEM_CHARS_MAX).collect();
        let mut error = Error::new(kind, op, message);
        if !is_ours || status == StatusCode::UNAUTHORIZED {
            error = error.with("server", self.address.name());
        }
        if status.is_server_error() && kind == ErrorKind::Unexpected {
            // A server that is about to end breaks what it still does.
            error = error.status(Status::Temporary);
        }
        match (problem.hint, status) {
            (Some(hint), _) => error.hint(hint),
            (None, StatusCode::UNAUTHORIZED) => error.hint(format!(
                "`kiln login {}` keeps a token; KILN_TOKEN_FILE and KILN_TOKEN name one too.",
                self.address.name()
            )),
            (None, _) => error,
        }
    }
}

/// What somebody said who does not speak as Kiln does, such as a proxy on the way.
fn words(status: StatusCode, body: &[u8]) -> String {
    let line = String::from_utf8_lossy(body);
    let line = line.lines().next().unwrap_or_default().trim();
    match line {
        "" => format!("the answer was {status}"),
        html if html.starts_with('<') => format!("the answer was {status}"),
        line => format!("the answer was {status}: {line}"),
    }
}

/// What a status means that has no words beside it.
fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 | 403 => ErrorKind::Denied,
        404 | 405 => ErrorKind::Unsupported,
        409 => ErrorKind::Conflict,
        413 | 507 => ErrorKind::Exhausted,
        429 => ErrorKind::RateLimited,
        408 | 502..=504 => ErrorKind::Unavailable,
        500.. => ErrorKind::Unexpected,
        _ => ErrorKind::Invalid,
    }
}

/// An error with what caused it, in one line.
fn chain(e: reqwest::Error) -> String {
    let mut text = e.to_string();
    let mut next = std::error::Error::source(&e);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Error {
        let client = Client::new(Address::parse("http://localhost:1").unwrap(), None).unwrap();
        client.refused("x", StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn an_error_of_the_server_is_the_same_error_here() {
        let e = refused(409, r#"{"detail":"it is over","code":"conflict","hint":"So it is."}"#);
        assert_eq!((e.kind(), e.to_string().as_str()), (ErrorKind::Conflict, "it is over"));
        assert_eq!(e.hint_text(), Some("So it is."));
        let e = refused(401, r#"{"detail":"no such token","code":"denied"}"#);
        assert!(e.hint_text().unwrap().contains("kiln login http://localhost:1"), "{e:?}");
    }

    #[test]
    fn somebody_on_the_way_is_understood_by_the_status() {
        let e = refused(502, "<html>nginx</html>");
        assert_eq!((e.kind(), e.retry_status()), (ErrorKind::Unavailable, Status::Temporary));
        assert!(!e.to_string().contains("html"), "{e}");
        assert_eq!(refused(404, "").kind(), ErrorKind::Unsupported);
        assert_eq!(refused(301, "").kind(), ErrorKind::Invalid);
        assert!(refused(403, "this machine only\n").to_string().contains("this machine only"));
        let long = refused(500, &format!("{{\"detail\":\"{}\"}}", "x".repeat(9000)));
        assert!(long.to_string().len() < 3000);
    }

    #[test]
    fn a_token_is_not_shown() {
        let address = Address::parse("http://localhost:1").unwrap();
        let client = Client::new(address, Some(Secret::new("hunter2"))).unwrap();
        assert!(!format!("{client:?}").contains("hunter2"), "{client:?}");
    }
}
