//! Errors of this adapter.

use kiln::{Error, ErrorKind};
use std::io;

pub(crate) const RESOLVE: &str = "Source::resolve";
pub(crate) const FETCH: &str = "Source::fetch";

/// What the workspace would not take.
pub(crate) fn io(doing: &str, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            let message = format!("the disk with the workspace is full: {doing} failed");
            return Error::new(ErrorKind::Exhausted, FETCH, message)
                .source(e)
                .hint("Free disk space where this node keeps its data, and try again.");
        }
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, FETCH, format!("{doing} failed")).source(e)
}

/// An archive that is not what an archive should be.
pub(crate) fn damaged(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, FETCH, format!("the archive is damaged: {}", why.into()))
}

/// An entry that is not unpacked.
pub(crate) fn refused(path: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, FETCH, format!("an entry of the archive is refused: {why}"))
        .with("path", path)
}

/// A path as a terminal may see it.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(300).collect()
}
