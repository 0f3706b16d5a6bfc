//! Directories that are held open, so that nobody can put a link in the place of one while there
//! is work to do in it: every step goes from an open directory to one name in it, and follows no
//! link.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::Dir;
#[cfg(unix)]
pub(crate) use unix::Dir;

use std::{
    io,
    path::{Component, Path},
};

impl Dir {
    /// The directory at a path below this one, of which every part must be a directory.
    pub(crate) fn descend(&self, below: &Path) -> io::Result<Self> {
        let mut at = self.again()?;
        for part in below.components() {
            let Component::Normal(part) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            at = at.enter(part)?;
        }
        Ok(at)
    }

    /// The same, with the directories that are missing made on the way.
    pub(crate) fn descend_and_make(&self, below: &Path) -> io::Result<Self> {
        let mut at = self.again()?;
        for part in below.components() {
            let Component::Normal(part) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            at = match at.enter(part) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    at.make(part)?;
                    at.enter(part)?
                }
                entered => entered?,
            };
        }
        Ok(at)
    }
}

/// Whether an error means that something on the way is no directory, or is gone.
pub(crate) fn is_astray(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    // A link where none is followed has a kind of its own only on some systems.
    matches!(e.kind(), NotADirectory | NotFound | InvalidInput) || is_loop(e)
}

#[cfg(unix)]
fn is_loop(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_loop(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, fs, os::unix::fs::symlink};

    #[test]
    fn no_link_is_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let held = dir.descend(Path::new("a/b")).unwrap();
        // Somebody swaps a directory for a link.
        fs::rename(root.path().join("a"), root.path().join("was")).unwrap();
        symlink(outside.path(), root.path().join("a")).unwrap();
        for way in ["a", "a/b", "..", "/etc", "a/.."] {
            assert!(is_astray(&dir.descend(Path::new(way)).unwrap_err()), "{way}");
            assert!(is_astray(&dir.descend_and_make(Path::new(way)).unwrap_err()), "{way}");
        }
        let name = OsStr::new("a");
        assert!(dir.create(name, false).is_err() && dir.make(name).is_err());
        assert!(dir.link(b"x", name).is_err());
        // What is held open is still what it was.
        held.create(OsStr::new("f"), true).unwrap();
        assert!(root.path().join("was/b/f").exists());
        assert!(held.is_at(&dir.descend(Path::new("was")).unwrap(), OsStr::new("b")).unwrap());
        assert!(!held.is_at(&dir, name).unwrap());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
