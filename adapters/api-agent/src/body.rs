//! Bodies of requests: bounded in size and in the time they may take.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use kiln::{Error, ErrorKind, Result, port::ByteStream};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// How long the next piece of a body may take.
const PIECE_TIME: Duration = Duration::from_secs(60);
/// How long a body that is read whole may take.
const WHOLE_TIME: Duration = Duration::from_secs(120);
/// How many bytes of JSON a body holds at most.
const JSON_MAX: usize = 16 << 20;

fn fail(kind: ErrorKind, message: &'static str) -> Error {
    Error::new(kind, "agent", message)
}

/// The next piece of a body.
async fn piece(body: &mut BodyDataStream) -> Option<Result<Bytes>> {
    match timeout(PIECE_TIME, body.next()).await {
        Err(_) => Some(Err(fail(ErrorKind::Timeout, "the body comes too slowly"))),
        Ok(None) => None,
        Ok(Some(Ok(bytes))) => Some(Ok(bytes)),
        Ok(Some(Err(e))) => {
            Some(Err(fail(ErrorKind::Unavailable, "the body did not come whole").source(e)))
        }
    }
}

/// A whole body of at most so many bytes; `Exhausted` if there are more.
pub(crate) async fn whole(body: Body, bytes_max: usize) -> Result<Bytes> {
    let mut body = body.into_data_stream();
    let read = async {
        let mut all = BytesMut::new();
        while let Some(bytes) = piece(&mut body).await {
            let bytes = bytes?;
            if all.len() + bytes.len() > bytes_max {
                return Err(fail(ErrorKind::Exhausted, "the body is too large")
                    .with("bytes at most", bytes_max));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    };
    let read = timeout(WHOLE_TIME, read).await;
    read.unwrap_or_else(|_| Err(fail(ErrorKind::Timeout, "the body comes too slowly")))
}

/// What a body says in JSON; fields that are not known are passed over.
pub(crate) async fn json<T: DeserializeOwned>(body: Body) -> Result<T> {
    serde_json::from_slice(&whole(body, JSON_MAX).await?)
        .map_err(|e| Error::new(ErrorKind::Invalid, "agent", format!("the body says `{e}`")))
}

/// A body as it comes, of any length; an error if it does not come whole.
pub(crate) fn pieces(body: Body) -> ByteStream {
    stream::unfold(Some(body.into_data_stream()), |body| async {
        let mut body = body?;
        let next = piece(&mut body).await?;
        let more = next.is_ok().then_some(body);
        Some((next, more))
    })
    .boxed()
}
