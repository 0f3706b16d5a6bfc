//! What went wrong on our side of a transfer, which the engine cannot know.

use kiln::{Error, ErrorKind};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// The first thing that went wrong. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Error>>>);

impl Trouble {
    /// Takes it out.
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps that the context could not be sent, and why.
    pub(super) fn note(&self, e: &io::Error) {
        let kind = match e.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Invalid,
        };
        let error = Error::new(kind, super::OP, "the build context cannot be sent")
            .with("because", e)
            .hint("Build again when nothing changes the files any more.");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}
