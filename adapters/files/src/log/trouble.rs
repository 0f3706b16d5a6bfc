//! What can be wrong with a stored log.

use crate::error::translate;
use kiln::{Error, ErrorKind, port::Offset};
use std::{io, path::Path};

/// Why a log could not be read or written on.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file system said no.
    Io(io::Error),
    /// At this byte of the uncompressed segment, where the log is at an offset, stands nothing
    /// that was written there.
    Damaged { place: u64, at: Offset },
    /// It was written by a newer version.
    Newer,
    /// What was asked for is refused; the log is as it should be.
    Refused(Error),
}

impl Trouble {
    /// Whether a file was not there.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Io(e) if e.kind() == io::ErrorKind::NotFound)
    }

    /// The error of an operation on a log.
    pub(super) fn told(self, op: &'static str, path: &Path) -> Error {
        match self {
            Self::Io(e) => translate(op, path, e),
            Self::Damaged { place, at } => Error::new(ErrorKind::Corrupt, op, "the log is damaged")
                .with("path", path.display())
                .with("offset", at.0)
                .with("byte", place)
                .hint("What stands before that offset can be read."),
            Self::Newer => {
                Error::new(ErrorKind::Unsupported, op, "the log is of a newer version, or is none")
                    .with("path", path.display())
                    .hint("Read it with the version of Kiln that wrote it.")
            }
            Self::Refused(e) => e,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}
