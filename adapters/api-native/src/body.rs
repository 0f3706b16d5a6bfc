//! Bodies of requests, as long as their clients keep to the bounds.

use crate::{problem::Problem, routes::Api};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
};
use futures::{StreamExt, TryStreamExt, stream};
use kiln::{Error, ErrorKind, port::ByteStream};
use serde::de::DeserializeOwned;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time::Instant;

/// How many bytes of JSON are taken where a whole plan may come, and elsewhere.
pub(crate) const PLAN_BYTES_MAX: usize = 4 << 20;
const JSON_BYTES_MAX: usize = 64 << 10;
/// How many bytes a second a client has to send in the long run.
const BYTES_PER_SECOND_MIN: u64 = 4 << 10;

/// Why a body came to no good end, where it is the client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    TooLarge,
    TooSlow,
    Broken,
}

impl Trouble {
    /// What the client is told.
    pub(crate) fn problem(self, max: u64) -> Problem {
        let (status, kind, message) = match self {
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::Exhausted, "the body is too large")
            }
            Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, ErrorKind::Timeout, "the body came too slowly")
            }
            Self::Broken => {
                (StatusCode::BAD_REQUEST, ErrorKind::Invalid, "the body did not come whole")
            }
        };
        let error = Error::new(kind, "body", message);
        Problem::new(
            if self == Self::TooLarge { error.with("bytes at most", max) } else { error },
            status,
        )
    }
}

/// How many bytes the client says will come.
pub(crate) fn told_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The pieces of a body. It fails, and notes why, if there are more than `max` bytes, if one is
/// waited for longer than `patience`, or if they trickle.
pub(crate) fn bounded(
    body: Body,
    max: u64,
    patience: Duration,
    trouble: Arc<OnceLock<Trouble>>,
) -> ByteStream {
    let start = (body.into_data_stream(), 0, Instant::now() + patience, trouble);
    stream::try_unfold(start, move |(mut pieces, before, until, trouble)| async move {
        let fail = |what: Trouble| {
            // The first one counts.
            let _ = trouble.set(what);
            Error::new(ErrorKind::Cancelled, "body", "the body is not taken")
        };
        let piece: Bytes = match tokio::time::timeout_at(until, pieces.next()).await {
            Err(_) => return Err(fail(Trouble::TooSlow)),
            Ok(None) => return Ok(None),
            Ok(Some(Err(e))) => return Err(fail(Trouble::Broken).source(e)),
            Ok(Some(Ok(piece))) => piece,
        };
        let bytes = before + piece.len() as u64;
        if bytes > max {
            return Err(fail(Trouble::TooLarge));
        }
        let earned = Duration::from_secs_f64(piece.len() as f64 / BYTES_PER_SECOND_MIN as f64);
        let until = (until + earned).min(Instant::now() + patience);
        Ok(Some((piece, (pieces, bytes, until, trouble))))
    })
    .boxed()
}

/// A body that is JSON.
#[derive(Debug)]
pub(crate) struct Sent<T, const MAX: usize = JSON_BYTES_MAX>(pub(crate) T);

/// A body that is JSON, or none, which says nothing else than the default.
#[derive(Debug)]
pub(crate) struct MaybeSent<T>(pub(crate) T);

impl<T: DeserializeOwned, const MAX: usize> FromRequest<Api> for Sent<T, MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (json, bytes) = whole(request, MAX, api.settings.body_wait).await?;
        read(json, &bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Api> for MaybeSent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (json, bytes) = whole(request, JSON_BYTES_MAX, api.settings.body_wait).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        read(json, &bytes).map(Self)
    }
}

/// A whole body, and whether it is said to be JSON.
async fn whole(
    request: Request,
    max: usize,
    patience: Duration,
) -> Result<(bool, Vec<u8>), Problem> {
    let headers = request.headers();
    let json = headers.get(header::CONTENT_TYPE).and_then(|h| h.to_str().ok()).is_some_and(|t| {
        let kind = t.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
    });
    let (told, max) = (told_length(headers).unwrap_or(0), max as u64);
    if told > max {
        return Err(Trouble::TooLarge.problem(max));
    }
    let trouble = Arc::new(OnceLock::new());
    let pieces = bounded(request.into_body(), max, patience, trouble.clone());
    let bytes = pieces.try_fold(Vec::new(), async |mut all, piece| {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    match bytes.await {
        Ok(bytes) => Ok((json, bytes)),
        Err(e) => Err(trouble.get().map_or(e.into(), |t: &Trouble| t.problem(max))),
    }
}

fn read<T: DeserializeOwned>(json: bool, bytes: &[u8]) -> Result<T, Problem> {
    let wrong = |message: String| Error::new(ErrorKind::Invalid, "body", message);
    if !json {
        let error = wrong("the body is not said to be JSON".into())
            .hint("Send `Content-Type: application/json`.");
        return Err(Problem::new(error, StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let Json(value) = Json::from_bytes(bytes).map_err(|rejection| {
        let status = match rejection {
            JsonRejection::JsonSyntaxError(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        // The place is in the message.
        Problem::new(wrong(rejection.body_text()), status)
    })?;
    // Serde would take an array for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("the body is no JSON object".into()).into());
    }
    Ok(value)
}
