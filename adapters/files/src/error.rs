//! From the file system's errors to Kiln's: once, here.

use kiln::{Error, ErrorKind, Result};
use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path};

pub(crate) fn translate(op: &'static str, path: &Path, e: io::Error) -> Error {
    let (kind, message) = match e.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "there is no such file"),
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "a file may not be used"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (ErrorKind::Exhausted, "the disk is full")
        }
        io::ErrorKind::InvalidData => (ErrorKind::Corrupt, "a file is not what was written"),
        _ => (ErrorKind::Unexpected, "a file could not be used"),
    };
    let error = Error::new(kind, op, message).with("path", path.display()).source(e.to_string());
    if kind == ErrorKind::Exhausted { error.hint("Free disk space and try again.") } else { error }
}

/// Makes a directory, and those above it, for this user alone.
pub(crate) fn private_dir(op: &'static str, path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| translate(op, path, e))
}
