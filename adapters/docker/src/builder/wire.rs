//! One request to the engine on a connection of its own.
//!
//! A build needs what the engine's client library does not offer: a connection that is handed over
//! to another protocol, and a request that ends for sure when it is dropped.

use crate::client::DockerClient;
use bollard::errors::Error as Vendor;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode, body::Incoming, client::conn::http1, header, upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use kiln::Result;
use std::io;
use tokio::task::JoinHandle;

const OP: &str = super::OP;
/// How much of a refusal is read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// What is sent with a request.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer of the engine. Dropping it closes the connection.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    connection: Task,
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn next(&mut self, client: &DockerClient) -> Result<Option<Bytes>> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(client.error(OP, e.into())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    /// The connection itself, where the engine agreed to speak another protocol on it.
    pub(super) async fn upgraded(self, client: &DockerClient) -> Result<Upgraded> {
        let Self { response, connection } = self;
        let line = hyper::upgrade::on(response).await.map_err(|e| client.error(OP, e.into()));
        drop(connection);
        line
    }
}

/// Sends a request. An answer that is a refusal is an error.
pub(super) async fn send(client: &DockerClient, mut request: Request<Body>) -> Result<Answer> {
    let line = client.wire().open().await.map_err(|e| client.error(OP, e))?;
    let host = client.wire().host_header().map_err(|e| client.error(OP, e))?;
    request.headers_mut().insert(header::HOST, host);
    let broken = |e: hyper::Error| client.error(OP, e.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(line)).await.map_err(broken)?;
    let connection = Task::spawn(async move {
        // What breaks here is told to whoever waits for the answer.
        let _ = connection.with_upgrades().await;
    });
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answer { response, connection });
    }
    let read = Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect().await;
    let text = read.map(|b| b.to_bytes()).unwrap_or_default();
    Err(client.error(OP, refusal(status, &text)))
}

fn refusal(status: StatusCode, text: &[u8]) -> Vendor {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    let message = match serde_json::from_slice::<Refusal>(text) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(text).into_owned(),
    };
    Vendor::DockerResponseServerError { status_code: status.as_u16(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_whatever_its_form() {
        let of = |text: &str| refusal(StatusCode::NOT_FOUND, text.as_bytes()).to_string();
        assert!(of(r#"{"message":"no such thing"}"#).ends_with("404: no such thing"));
        assert!(of("page not found").ends_with("404: page not found"));
    }
}
