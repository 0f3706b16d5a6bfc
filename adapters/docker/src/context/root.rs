//! Reading below a directory without ever leaving it.
//!
//! Every step down is opened by itself and never through a symbolic link, so that nobody can lead
//! the reader out by swapping a directory for a link while it works.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, open, openat, readlinkat, statat};
use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Component, Path, PathBuf},
};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that reading does not lead out of.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

/// A name in a directory, and what is there. Links are not followed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) kind: FileType,
    /// The permission bits, with set-uid, set-gid and sticky.
    pub(super) mode: u32,
    pub(super) bytes: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
    /// Where a link leads.
    pub(super) target: Option<PathBuf>,
}

impl Root {
    /// Opens a directory; links in its own path are followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    fn directory(&self, below: &Path) -> io::Result<OwnedFd> {
        let mut at = openat(&self.0, ".", DIRECTORY, Mode::empty())?;
        for part in below.components() {
            let Component::Normal(name) = part else {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            };
            at = openat(&at, name, DIRECTORY, Mode::empty())?;
        }
        Ok(at)
    }

    /// What is in a directory, ordered by the bytes of the names.
    pub(super) fn list(&self, below: &Path) -> io::Result<Vec<Found>> {
        let at = self.directory(below)?;
        let mut found = Vec::new();
        for entry in Dir::read_from(&at)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name == "." || name == ".." {
                continue;
            }
            let stat = match statat(&at, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // It was removed since the directory was listed.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(e) => return Err(e.into()),
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let target = match kind {
                FileType::Symlink => {
                    let target = readlinkat(&at, &name, Vec::new())?;
                    Some(OsString::from_vec(target.into_bytes()).into())
                }
                _ => None,
            };
            found.push(Found {
                name,
                kind,
                mode: stat.st_mode & 0o7777,
                bytes: u64::try_from(stat.st_size).unwrap_or(0),
                modified: modified(&stat),
                target,
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

fn modified(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Opens files below a root. It keeps the last directory, since files are mostly read in order.
#[derive(Debug)]
pub(crate) struct Opener<'a> {
    root: &'a Root,
    last: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, last: None }
    }

    /// Opens a regular file of just this size.
    pub(crate) fn open(&mut self, below: &Path, bytes: u64) -> io::Result<File> {
        let directory = below.parent().unwrap_or(Path::new(""));
        let at = match self.last.take() {
            Some((path, at)) if path == directory => at,
            _ => self.root.directory(directory).map_err(|e| changed(below, &e))?,
        };
        let name = below.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        // Without waiting: the file may have become a pipe since it was seen.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&at, name, flags, Mode::empty());
        self.last = Some((directory.to_owned(), at));
        let file = File::from(opened.map_err(|e| changed(below, &e.into()))?);
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() != bytes {
            return Err(resized(below));
        }
        Ok(file)
    }
}

fn changed(path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("`{}` cannot be read any more: {e}", path.display()))
}

/// A file that is not what it was when the context was walked.
pub(crate) fn resized(path: &Path) -> io::Error {
    io::Error::other(format!("`{}` changed its size while it was sent", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_is_followed_on_the_way_down() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "text").unwrap();
        symlink("d", dir.path().join("inside")).unwrap();
        symlink("/etc", dir.path().join("outside")).unwrap();
        symlink("/etc/passwd", dir.path().join("d/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut opener = Opener::new(&root);
        assert!(opener.open(Path::new("d/f"), 4).is_ok());
        for bad in ["inside/f", "outside/passwd", "d/link", "d/../d/f", "/etc/passwd", "d", "no"] {
            assert!(opener.open(Path::new(bad), 4).is_err(), "{bad}");
        }
        assert!(root.list(Path::new("outside")).is_err());
        let names: Vec<_> = root.list(Path::new("")).unwrap().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["d", "inside", "outside"]);
    }

    #[test]
    fn a_file_that_grew_is_not_opened_and_a_pipe_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "text").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("pipe"), Mode::RUSR).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut opener = Opener::new(&root);
        assert!(opener.open(Path::new("f"), 3).unwrap_err().to_string().contains("size"));
        assert!(opener.open(Path::new("pipe"), 0).is_err());
    }
}
