//! What an HTTP status means for a fetch.

use hyper::StatusCode;
use kiln::{Error, ErrorKind};

/// The error of a status that is not 200. `known`: whether credentials were shown.
pub(super) fn error(op: &'static str, status: StatusCode, known: bool) -> Error {
    let make = |kind, message: &str| Error::new(kind, op, message);
    let error = match status.as_u16() {
        401 | 403 if known => {
            make(ErrorKind::Denied, "the server refuses these credentials for the repository")
                .hint("Check that the token is valid and may read this repository.")
        }
        401 | 403 => make(
            ErrorKind::Denied,
            "the server wants credentials; the repository is private or does not exist",
        )
        .hint("Check the address, or give the source credentials."),
        404 | 410 => make(ErrorKind::NotFound, "there is no such repository").hint(
            "Check the address. Many servers also say this of a private repository to \
             whoever has no credentials for it.",
        ),
        407 => make(ErrorKind::Denied, "a proxy wants credentials"),
        429 => make(ErrorKind::RateLimited, "the server has had too many requests"),
        500.. => make(ErrorKind::Unavailable, "the server failed"),
        _ => make(ErrorKind::Unexpected, "the server gave an answer that git does not know"),
    };
    error.with("status", status.as_u16())
}
