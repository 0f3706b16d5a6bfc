//! From SQLite's errors to Kiln's: once, here.

use kiln::{Error, ErrorKind};
use rusqlite::{ErrorCode, ffi};

/// Why work on a connection ended without a value.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The answer of the port, such as a conflict.
    Refused(Error),
    /// The database failed.
    Db(rusqlite::Error),
}

impl Stop {
    /// What the caller of a port is told.
    pub(crate) fn into_error(self, op: &'static str) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Db(e) => translate(op, &e),
        }
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(e: rusqlite::Error) -> Self {
        Self::Db(e)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Whether another connection holds what is needed, which passes.
pub(crate) fn is_busy(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

pub(crate) fn translate(op: &'static str, e: &rusqlite::Error) -> Error {
    let extended = e.sqlite_error().map(|e| e.extended_code);
    let (kind, message, hint) = match e.sqlite_error_code() {
        // The memory that processes share is a file too, and it is the first that cannot grow.
        Some(ErrorCode::SystemIoFailure) if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => full(),
        Some(ErrorCode::DiskFull) => full(),
        Some(ErrorCode::SystemIoFailure) => (
            ErrorKind::Unavailable,
            "the disk failed under the database",
            "Look for disk errors in the log of the machine.",
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            ErrorKind::Corrupt,
            "the database is damaged, or is no database",
            "Move the file away to begin with a new one; its history is lost then.",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Unavailable, "the database is locked by another process", "Try again.")
        }
        Some(ErrorCode::ReadOnly) => read_only(),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
            ErrorKind::Denied,
            "the database cannot be opened for writing",
            "Check that its directory exists and is yours to write.",
        ),
        _ => (ErrorKind::Unexpected, "the database failed", ""),
    };
    let error = Error::new(kind, op, message).source(e.to_string());
    if hint.is_empty() { error } else { error.hint(hint) }
}

type Told = (ErrorKind, &'static str, &'static str);

fn full() -> Told {
    (ErrorKind::Exhausted, "the disk is full", "Free disk space and try again.")
}

fn read_only() -> Told {
    (
        ErrorKind::Denied,
        "the database can only be read",
        "Check that the file, its directory and its disk are yours to write.",
    )
}

/// The error for a file that may be read and not written.
pub(crate) fn only_readable(op: &'static str) -> Error {
    let (kind, message, hint) = read_only();
    Error::new(kind, op, message).hint(hint)
}

/// The error for a file that cannot be made.
pub(crate) fn cannot_make(op: &'static str, e: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (kind, message, hint) = match e.kind() {
        Io::StorageFull | Io::QuotaExceeded => full(),
        _ => (
            ErrorKind::Denied,
            "the database cannot be made",
            "Check that its directory exists and is yours to write.",
        ),
    };
    Error::new(kind, op, message).hint(hint).source(e)
}

/// The error for a stored text that does not say what it should.
pub(crate) fn unreadable(op: &'static str, what: &'static str, e: impl ToString) -> Error {
    Error::new(ErrorKind::Corrupt, op, what)
        .hint("A newer version of Kiln may have written it.")
        .source(e.to_string())
}

/// The stored form of a value.
pub(crate) fn json(op: &'static str, value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::new(ErrorKind::Unexpected, op, e.to_string()))
}
