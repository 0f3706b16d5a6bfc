//! From SQLite's errors to Kiln's: once, here.

use kiln::{Error, ErrorKind};
use rusqlite::ErrorCode;

pub(crate) fn translate(op: &'static str, e: rusqlite::Error) -> Error {
    let (kind, message, hint) = match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::Exhausted, "the disk is full", "Free disk space and try again.")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            ErrorKind::Corrupt,
            "the database is damaged, or is no database",
            "Move the file away to begin with a new one; its history is lost then.",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Unavailable, "the database is locked by another process", "Try again.")
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => (
            ErrorKind::Denied,
            "the database cannot be opened for writing",
            "Check that its directory exists and is yours to write.",
        ),
        _ => (ErrorKind::Unexpected, "the database failed", ""),
    };
    let error = Error::new(kind, op, message).source(e.to_string());
    if hint.is_empty() { error } else { error.hint(hint) }
}
