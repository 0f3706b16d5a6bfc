//! From HTTP to `kiln::Error`. Nothing here tells more of a URL than its host, nor a word of what
//! a registry answered.

use crate::gate::Refused;
use kiln::{Error, ErrorKind};
use reqwest::{StatusCode, Url};
use std::error::Error as StdError;

pub(crate) const FIND: &str = "StepRegistry::find";
pub(crate) const PUBLISH: &str = "HttpRegistry::publish";

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "HttpRegistry::new", message)
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

pub(crate) fn corrupt(url: &Url, message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, FIND, message).with("host", host(url))
}

pub(crate) fn refused(op: &'static str, url: &Url) -> Error {
    Error::new(ErrorKind::Denied, op, Refused.to_string())
        .with("host", host(url))
        .hint("Set `allow_private_network`, if it is yours.")
}

pub(crate) fn elsewhere(op: &'static str, url: &Url) -> Error {
    let message = "the registry of steps sends us to where nobody goes";
    Error::new(ErrorKind::Denied, op, message).with("host", host(url))
}

pub(crate) fn too_large(op: &'static str, url: &Url, max: usize) -> Error {
    let message = "the registry of steps answers without an end";
    Error::new(ErrorKind::Corrupt, op, message).with("host", host(url)).with("bytes_max", max)
}

/// A request that was not answered.
pub(crate) fn unanswered(op: &'static str, url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(e) = cause {
        if e.is::<Refused>() {
            return refused(op, url);
        }
        cause = e.source();
    }
    let (kind, message) = if error.is_timeout() {
        (ErrorKind::Timeout, "the registry of steps took too long")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "the registry of steps cannot be reached")
    } else {
        (ErrorKind::Unavailable, "the registry of steps broke off")
    };
    Error::new(kind, op, message).with("host", host(url))
}

/// What an answer that is no success means.
pub(crate) fn answered(op: &'static str, url: &Url, status: StatusCode) -> Error {
    let (kind, message) = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            (ErrorKind::RateLimited, "the registry of steps wants fewer requests")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (ErrorKind::Denied, "the registry of steps does not let us in")
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            (ErrorKind::NotFound, "the registry of steps has nothing there")
        }
        StatusCode::CONFLICT => (ErrorKind::AlreadyExists, "the registry has this version already"),
        _ if status.is_client_error() => {
            (ErrorKind::Invalid, "the registry of steps will not take this")
        }
        _ => (ErrorKind::Unavailable, "the registry of steps is broken"),
    };
    let error = Error::new(kind, op, message).with("host", host(url));
    let error = error.with("status", status.as_u16());
    match kind {
        ErrorKind::Denied => error.hint("Look at the token, and at who owns the step."),
        _ => error,
    }
}
