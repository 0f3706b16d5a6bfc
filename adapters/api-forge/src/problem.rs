//! What goes wrong, as `application/problem+json` (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kiln::{Error, ErrorKind};
use serde_json::json;

/// An answer that is no.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// What broke inside is for the log of the operator; a forge only learns whether to try again.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        tracing::warn!(?error, "a hook could not be taken");
        let (status, detail) = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited => {
                (StatusCode::SERVICE_UNAVAILABLE, "the server cannot take builds now")
            }
            ErrorKind::Exhausted => {
                (StatusCode::INSUFFICIENT_STORAGE, "the server has no room for builds now")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "the hook is not set up as it should be"),
        };
        Self::new(status, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail } = self;
        let title = status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
        });
        let mut response = (status, Json(body)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}
