use kiln::{Error, ErrorKind, Result};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether there is room for more. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<AtomicBool>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Room {
    pub(super) fn set(&self, there_is: bool) {
        self.0.store(there_is, Ordering::Relaxed);
    }

    /// `Exhausted` if there is none.
    pub(crate) fn expect(&self, op: &'static str) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        let message = "the server keeps as much as it may, and takes no more for now";
        Err(Error::new(ErrorKind::Exhausted, op, message)
            .hint("Raise `retention.disk_bytes`, or remove finished builds."))
    }
}
