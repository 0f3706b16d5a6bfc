//! A file that is being written and has no name of its own yet.

use crate::dir::{self, Dir};
use std::{
    fs::{File, TryLockError},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const PREFIX: &str = ".half-";
/// Makes names of this process differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name that no other call of this process has, nor of another one on this machine.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A file that goes away unless it is kept. While it is there it is locked, by which a file that a
/// crash left is told from one that is being written.
#[derive(Debug)]
pub(crate) struct Half {
    dir: Arc<Dir>,
    name: String,
    kept: bool,
    /// The file, to be written.
    pub(crate) file: File,
}

impl Half {
    /// Makes an empty file in a directory.
    pub(crate) fn create(dir: Arc<Dir>) -> io::Result<Self> {
        loop {
            let name = unique(PREFIX);
            let file = match dir.create(&name) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            file.lock()?;
            // Somebody may have swept it away before it was locked.
            if dir.identity(&name)? == Some(dir::identity(&file)?) {
                return Ok(Self { dir, name, kept: false, file });
            }
        }
    }

    /// Gives the file its name, in place of whatever has it, and waits until both are on the disk.
    pub(crate) fn keep(&mut self, to: &Dir, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        self.dir.rename(self.name.as_str(), to, name)?;
        self.kept = true;
        to.sync()
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if !self.kept {
            // If this fails, the next sweep takes it.
            let _ = self.dir.remove(self.name.as_str());
        }
    }
}

/// Removes what nobody writes any more.
pub(crate) fn sweep(dir: &Dir) -> io::Result<()> {
    for name in dir.names()?.iter().filter(|name| name.starts_with(PREFIX)) {
        let file = match dir.read(name.as_str()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => dir.remove(name.as_str())?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
    Ok(())
}
