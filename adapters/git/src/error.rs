//! What went wrong, as the one error of the ports.

use crate::{text::clean, url::UrlError};
use kiln::{Error, ErrorKind};

pub(crate) const RESOLVE: &str = "Source::resolve";
pub(crate) const FETCH: &str = "Source::fetch";

const MAKE_ROOM: &str = "Free some space, or clear old builds away.";

/// An error of libgit2.
pub(crate) fn git(op: &'static str, doing: &'static str, e: &git2::Error) -> Error {
    use git2::{ErrorClass, ErrorCode};
    let kind = match (e.code(), e.class()) {
        (ErrorCode::Auth | ErrorCode::Certificate | ErrorCode::Owner, _) => ErrorKind::Denied,
        (ErrorCode::NotFound, _) => ErrorKind::NotFound,
        (_, ErrorClass::Net | ErrorClass::Http) => ErrorKind::Unavailable,
        (_, ErrorClass::Os | ErrorClass::Filesystem) if is_full(e.message()) => {
            ErrorKind::Exhausted
        }
        (_, ErrorClass::Zlib | ErrorClass::Indexer) => ErrorKind::Corrupt,
        _ => ErrorKind::Unexpected,
    };
    let error = Error::new(kind, op, format!("{doing} failed: {}", clean(e.message().as_bytes())));
    match e.code() {
        _ if kind == ErrorKind::Exhausted => error.hint(MAKE_ROOM),
        ErrorCode::Owner => error.hint(
            "The repository belongs to another user. If you trust it, run \
             `git config --global --add safe.directory <path>`.",
        ),
        _ => error,
    }
}

/// libgit2 passes the text of an operating system's error only.
fn is_full(message: &str) -> bool {
    message.contains("No space left") || message.contains("quota exceeded")
}

/// An error of the file system of this host.
pub(crate) fn io(op: &'static str, doing: &'static str, e: std::io::Error) -> Error {
    let kind = match e.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::QuotaExceeded
        | std::io::ErrorKind::FileTooLarge => ErrorKind::Exhausted,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unexpected,
    };
    let error = Error::new(kind, op, format!("{doing} failed: {e}")).source(e);
    match kind {
        ErrorKind::Exhausted => error.hint(MAKE_ROOM),
        _ => error,
    }
}

/// An address that is none.
pub(crate) fn url(op: &'static str, e: &UrlError) -> Error {
    let error = Error::new(ErrorKind::Invalid, op, e.to_string());
    match e {
        UrlError::Password => error
            .hint("Keep the password as a secret and name the secret as the source's credentials."),
        UrlError::Scheme(scheme) if scheme == "git" => {
            error.hint("`git://` neither encrypts nor authenticates; use https.")
        }
        _ => error,
    }
}

/// A commit that a repository does not have.
pub(crate) fn no_commit(id: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, FETCH, "the repository has no such commit")
        .with("commit", id)
        .hint("Was a branch overwritten since the commit was chosen? Start the build anew.")
}

/// A repository whose ids are not SHA-1.
pub(crate) fn sha256(op: &'static str) -> Error {
    let message = "the repository has SHA-256 ids, which are not supported";
    Error::new(ErrorKind::Unsupported, op, message)
        .hint("Fetch from a repository that was made with `git init --object-format=sha1`.")
}

/// A file of `git bundle`.
pub(crate) fn bundle(op: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, op, "this is a bundle, which is not supported")
        .hint("Clone it with `git clone --mirror x.bundle x.git`, and name the clone.")
}

/// Something that policy forbids.
pub(crate) fn forbidden(op: &'static str, what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, op, what)
}
