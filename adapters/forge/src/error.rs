//! From HTTP to `kiln::Error`. Nothing here tells more of a URL than its host, nor a word of what
//! a receiver answered.

use crate::gate::Refused;
use kiln::{Error, ErrorKind, Status};
use reqwest::{StatusCode, Url};
use std::error::Error as StdError;

pub(crate) const OP: &str = "Notifier::notify";

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OP, message)
}

/// What an operator can mend, so that it is worth another try.
pub(crate) fn mendable(kind: ErrorKind, message: &str) -> Error {
    Error::new(kind, OP, message).status(Status::Temporary)
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

pub(crate) fn refused(url: &Url) -> Error {
    mendable(ErrorKind::Denied, &Refused.to_string())
        .with("host", host(url))
        .hint("Set `allow_private_network`, if it is yours.")
}

/// A request that was not answered.
pub(crate) fn unanswered(url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(e) = cause {
        if e.is::<Refused>() {
            return refused(url);
        }
        cause = e.source();
    }
    let (kind, message) = if error.is_timeout() {
        (ErrorKind::Timeout, "the receiver took too long")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "the receiver cannot be reached")
    } else {
        (ErrorKind::Unavailable, "the receiver broke off")
    };
    Error::new(kind, OP, message).with("host", host(url))
}

/// What an answer that is no success means. Most mistakes of an operator are mended sooner or
/// later; what a receiver says of this very request stays.
pub(crate) fn answered(url: &Url, status: StatusCode, gone: &[StatusCode]) -> Error {
    let error = match status {
        _ if gone.contains(&status) => invalid("the receiver will not take this"),
        StatusCode::TOO_MANY_REQUESTS => {
            Error::new(ErrorKind::RateLimited, OP, "the receiver wants fewer requests")
        }
        _ if status.is_redirection() => {
            mendable(ErrorKind::Unsupported, "the receiver sends us elsewhere, where nobody goes")
                .hint("Set the URL to where it points.")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            mendable(ErrorKind::Denied, "the receiver does not let us in")
        }
        _ => Error::new(ErrorKind::Unavailable, OP, "the receiver did not take it"),
    };
    error.with("host", host(url)).with("status", status.as_u16())
}

/// Whether GitLab says that a commit has a state already that this one cannot follow: it answered
/// so for long when a state was told twice.
pub(crate) fn is_repeated_state(status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::BAD_REQUEST
        && String::from_utf8_lossy(body).contains("Cannot transition status")
}
