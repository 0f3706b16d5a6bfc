//! Errors as `application/problem+json` (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kiln::{Error, ErrorKind};
use serde::Serialize;
use std::time::Duration;

/// An error on its way to a client.
#[derive(Debug)]
pub struct Problem {
    error: Error,
    status: StatusCode,
    wait: Option<Duration>,
}

/// How many characters of an error a client is told: some quote what it sent.
const DETAIL_MAX: usize = 1_000;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: status(error.kind()), error, wait: None }
    }
}

impl Problem {
    /// An error whose kind does not say the status.
    pub(crate) fn new(error: Error, status: StatusCode) -> Self {
        Self { error, status, wait: None }
    }

    /// A client that has to wait before it asks again.
    pub(crate) fn too_many(message: &str, wait: Duration) -> Self {
        let error = Error::new(ErrorKind::RateLimited, "limit", message);
        Self { wait: Some(wait), ..error.into() }
    }

    /// Who calls is not known; unless the error is another one.
    pub(crate) fn of_caller(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Denied => Self::new(error, StatusCode::UNAUTHORIZED),
            _ => error.into(),
        }
    }
}

/// An error (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: `code` says more.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What the status means.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What happened, with the facts, for people.
    detail: String,
    /// The error's kind, to branch on, such as `not_found`.
    #[schema(value_type = String)]
    code: ErrorKind,
    /// What to do about it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Invalid | ErrorKind::Failed => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout | ErrorKind::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { error, status, wait } = self;
        if status.is_server_error() {
            tracing::warn!(?error, "a request failed");
        }
        let cut = |text: &str| text.chars().take(DETAIL_MAX).collect::<String>();
        let body = ProblemBody {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            // What broke inside is for the operator's log.
            detail: match status {
                StatusCode::INTERNAL_SERVER_ERROR => "something broke in the server".to_owned(),
                _ => cut(&error.to_string()),
            },
            code: error.kind(),
            hint: error.hint_text().map(cut),
        };
        let mut response = (status, Json(&body)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Some(wait) = wait {
            let seconds = HeaderValue::from(wait.as_secs() + 1);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
