//! The way to the server: bounds how long it may be silent and how much it may say, and keeps what
//! it refuses as data, where the client underneath would make a text of it.

use crate::error::{Refusal, Slow, TooMuch};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService, ReqwestConnector,
    },
};
use std::time::Duration;

/// Answers that are no artifact have at most so many bytes; a list of 1,000 keys has a tenth.
const ANSWER_MAX: usize = 8 << 20;
/// Of what a server says of an error so many bytes are looked at.
const ERROR_MAX: usize = 64 * 1024;
/// An upload may be as slow as this, in bytes a second.
const UPLOAD_SLOWEST: u64 = 128 * 1024;
/// A server that joins the parts of an upload may need so many times the usual patience.
const JOINING: u32 = 5;

/// Makes clients of one server.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) patience: Duration,
}

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Bounded { inner, patience: self.patience }))
    }
}

#[derive(Debug)]
struct Bounded {
    inner: HttpClient,
    patience: Duration,
}

#[async_trait]
impl HttpService for Bounded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (method, query) = (request.method().as_str(), request.uri().query());
        // An artifact comes piece by piece; whoever reads it watches that it goes on.
        let streamed = method == "GET" && !query.is_some_and(|q| q.contains("list-type="));
        let usual = if method == "POST" { self.patience * JOINING } else { self.patience };
        let sent = request.body().content_length() as u64;
        let limit = usual + Duration::from_secs(sent / UPLOAD_SLOWEST);
        let answer = async {
            let response = self.inner.execute(request).await?;
            let good = response.status().is_success();
            if good && streamed {
                return Ok(response);
            }
            let (head, body) = response.into_parts();
            let body = all(body, if good { ANSWER_MAX } else { ERROR_MAX }, good).await?;
            // Some answers begin well before the server knows how they end.
            if good && !body.windows(7).any(|part| part == b"<Error>") {
                return Ok(HttpResponse::from_parts(head, body.into()));
            }
            let date = head.headers.get("date").and_then(|value| value.to_str().ok());
            let refusal = Refusal::new(head.status.as_u16(), &body, date);
            let passing = refusal.may_pass();
            let kind = if passing { HttpErrorKind::Request } else { HttpErrorKind::Unknown };
            Err(HttpError::new(kind, refusal))
        };
        let ended = tokio::time::timeout(limit, answer).await;
        ended.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, Slow(limit))))
    }
}

/// A body, up to so many bytes. What is more is left out, or, in an answer that counts, an error.
async fn all(body: HttpResponseBody, max: usize, counts: bool) -> Result<Bytes, HttpError> {
    let mut stream = body.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(piece) = stream.try_next().await? {
        let room = max - bytes.len();
        if piece.len() > room {
            if counts {
                return Err(HttpError::new(HttpErrorKind::Decode, TooMuch));
            }
            bytes.extend_from_slice(&piece[..room]);
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}
