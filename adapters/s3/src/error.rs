//! From the server's refusals and the client's errors to Kiln's: once, here.

use kiln::{Error, ErrorKind, Status};
use object_store::client::{HttpError, HttpErrorKind};
use std::{error::Error as StdError, time::Duration};

/// How much of what a server says of an error is told, in characters.
const TOLD_MAX: usize = 300;

/// The server took too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {0:?}")]
pub(crate) struct Slow(pub(crate) Duration);

/// The server said more than any answer has.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than any should be")]
pub(crate) struct TooMuch;

/// What a server refused, and why.
///
/// The body of a refusal is described in "Error responses" of the Amazon S3 API reference.
#[derive(Debug, thiserror::Error)]
#[error("status {status} {code}: {message}")]
pub(crate) struct Refusal {
    status: u16,
    code: String,
    message: String,
    date: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, body: &[u8], date: Option<&str>) -> Self {
        let body = String::from_utf8_lossy(body);
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            Some(clean(rest.split_once("</")?.0))
        };
        Self {
            status,
            code: element("Code").unwrap_or_default(),
            message: element("Message").unwrap_or_default(),
            date: clean(date.unwrap_or_default()),
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        use ErrorKind::{RateLimited, Timeout, Unavailable};
        matches!(self.kind(), RateLimited | Timeout | Unavailable)
    }

    fn kind(&self) -> ErrorKind {
        match (&*self.code, self.status) {
            ("NoSuchKey", _) => ErrorKind::NotFound,
            ("NoSuchUpload", _) => ErrorKind::Conflict,
            ("NoSuchBucket" | "InvalidBucketName", _) => ErrorKind::Invalid,
            ("SlowDown" | "TooManyRequests" | "RequestLimitExceeded", _) | (_, 429) => {
                ErrorKind::RateLimited
            }
            ("RequestTimeout", _) | (_, 408) => ErrorKind::Timeout,
            ("BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch", _) => {
                ErrorKind::Corrupt
            }
            ("QuotaExceeded" | "StorageFull" | "XMinioStorageFull" | "EntityTooLarge", _)
            | (_, 507) => ErrorKind::Exhausted,
            ("RequestTimeTooSkewed" | "ExpiredToken" | "InvalidToken", _) | (_, 401 | 403) => {
                ErrorKind::Denied
            }
            (_, 404) => ErrorKind::NotFound,
            (_, 409) => ErrorKind::Conflict,
            (_, 501) => ErrorKind::Unsupported,
            // A 200 here is one that ended in an error after all.
            (_, 200 | 500..) => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        }
    }

    fn message(&self) -> &'static str {
        match (&*self.code, self.kind()) {
            ("NoSuchBucket", _) => "there is no such bucket",
            ("NoSuchUpload", _) => "the upload was ended by somebody else",
            ("RequestTimeTooSkewed", _) => {
                "this machine's clock differs too much from the server's"
            }
            ("SignatureDoesNotMatch", _) => "the secret does not belong to the access key",
            ("InvalidAccessKeyId", _) => "the server does not know the access key",
            ("ExpiredToken" | "InvalidToken", _) => "the session of the access key is over",
            (_, ErrorKind::NotFound) => "there is no such object",
            (_, ErrorKind::Denied) => "the server does not allow this",
            (_, ErrorKind::Corrupt) => "the bytes did not arrive as they were sent",
            (_, ErrorKind::Exhausted) => "the server has no more room",
            (_, ErrorKind::RateLimited) => "the server wants fewer requests",
            (_, ErrorKind::Timeout) => "the server waited too long for this request",
            (_, ErrorKind::Unavailable) => "the server broke off",
            _ => "the server refuses this",
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match (&*self.code, self.status) {
            ("NoSuchBucket" | "InvalidBucketName", _) => {
                "Create the bucket, or correct its name in the address."
            }
            ("RequestTimeTooSkewed", _) => "Set this machine's clock.",
            ("SignatureDoesNotMatch" | "InvalidAccessKeyId", _) => {
                "Check the access key and its secret."
            }
            ("ExpiredToken" | "InvalidToken", _) => "Give a new access key.",
            (
                "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraint",
                _,
            )
            | (_, 301 | 307) => "Name the region of the bucket by `region=` in the address.",
            _ if self.kind() == ErrorKind::Denied => {
                "Allow the access key to get, put, delete and list objects of the bucket, and to \
                 abort uploads."
            }
            _ if self.kind() == ErrorKind::Exhausted => "Make room on the server and try again.",
            _ => return None,
        })
    }
}

/// What a server says, fit to be shown: one line, of bounded length.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TOLD_MAX).collect()
}

/// An error of the client, in an operation on a key.
pub(crate) fn translate(op: &'static str, key: &str, e: object_store::Error) -> Error {
    let all = || causes(&e);
    if let Some(refusal) = all().find_map(|e| e.downcast_ref::<Refusal>()) {
        return refused(op, key, refusal);
    }
    let kind = all().find_map(|e| e.downcast_ref::<HttpError>()).map(HttpError::kind);
    let (kind, message) = match kind {
        _ if all().any(|e| e.is::<TooMuch>()) => {
            (ErrorKind::Unexpected, "the server does not speak S3 as expected")
        }
        Some(HttpErrorKind::Timeout) => (ErrorKind::Timeout, "the server does not answer"),
        Some(HttpErrorKind::Connect) => (ErrorKind::Unavailable, "the server cannot be reached"),
        Some(_) => (ErrorKind::Unavailable, "the connection to the server broke"),
        None => (ErrorKind::Unexpected, "the server does not speak S3 as expected"),
    };
    // The innermost says most, and unlike those around it no address.
    let cause = all().last().map(|e| clean(&e.to_string())).unwrap_or_default();
    let error = Error::new(kind, op, message).with("key", key).source(cause);
    if kind == ErrorKind::Unavailable {
        error.hint("Check the endpoint, and that its certificate is trusted here.")
    } else {
        error
    }
}

/// An error and what caused it, from the outside in.
fn causes<'a>(
    e: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(e), |e| {
        let e: &'a (dyn StdError + 'static) = *e;
        e.source()
    })
}

fn refused(op: &'static str, key: &str, refusal: &Refusal) -> Error {
    let mut error = Error::new(refusal.kind(), op, refusal.message())
        .with("key", key)
        .with("status", format!("{} {}", refusal.status, refusal.code).trim_end());
    if refusal.code == "RequestTimeTooSkewed" && !refusal.date.is_empty() {
        error = error.with("the server's time", &refusal.date);
    }
    if refusal.kind() == ErrorKind::Corrupt {
        error = error.status(Status::Temporary);
    }
    if let Some(hint) = refusal.hint() {
        error = error.hint(hint);
    }
    error.source(refusal.message.clone())
}

/// None in place of `NotFound`.
pub(crate) fn found<T>(result: kiln::Result<T>) -> kiln::Result<Option<T>> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, code: &str) -> Error {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>of\nthe server</Message></Error>"
        );
        let refusal = Refusal::new(status, body.as_bytes(), Some("Sat, 21 Nov 2026 12:00:00 GMT"));
        let e = HttpError::new(HttpErrorKind::Unknown, refusal);
        translate("op", "k", object_store::Error::Generic { store: "S3", source: e.into() })
    }

    #[test]
    fn a_refusal_is_typed_and_says_what_to_do() {
        use ErrorKind::*;
        let cases = [
            (403, "SignatureDoesNotMatch", Denied, Some("Check the access key")),
            (403, "RequestTimeTooSkewed", Denied, Some("clock")),
            (404, "NoSuchBucket", Invalid, Some("Create the bucket")),
            (404, "NoSuchKey", NotFound, None),
            (404, "NoSuchUpload", Conflict, None),
            (503, "SlowDown", RateLimited, None),
            (500, "InternalError", Unavailable, None),
            (200, "InternalError", Unavailable, None),
            (507, "InsufficientStorage", Exhausted, Some("Make room")),
            (400, "XMinioStorageFull", Exhausted, Some("Make room")),
            (400, "BadDigest", Corrupt, None),
            (400, "AuthorizationHeaderMalformed", Invalid, Some("region=")),
            (501, "NotImplemented", Unsupported, None),
        ];
        for (status, code, kind, hint) in cases {
            let e = told(status, code);
            assert_eq!(e.kind(), kind, "{code}");
            let found = e.hint_text().unwrap_or_default();
            assert_eq!(hint.is_some(), !found.is_empty(), "{code}: {found}");
            assert!(found.contains(hint.unwrap_or_default()), "{code}: {found}");
            assert!(format!("{e:?}").contains("ofthe server"), "{e:?}");
        }
        assert_eq!(told(503, "SlowDown").retry_status(), Status::Temporary);
        assert_eq!(told(400, "BadDigest").retry_status(), Status::Temporary);
        assert!(told(403, "RequestTimeTooSkewed").to_string().contains("12:00:00"));
    }

    #[test]
    fn what_a_server_says_is_bounded() {
        let long = Refusal::new(500, &[b'<'; 100_000], None);
        assert_eq!((&*long.code, &*long.message), ("", ""));
        let body = format!("<Code>{}</Code>", "x".repeat(100_000));
        assert_eq!(Refusal::new(500, body.as_bytes(), None).code.len(), TOLD_MAX);
    }
}
