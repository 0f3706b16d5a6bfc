//! Directories that are held open: every step goes from one to a name in it and follows no link,
//! so that no entry of an archive, and nobody who works in the same place, leads a write elsewhere.

use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// Opens a directory at a path that is trusted: links on the way are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::openat(CWD, path, flags, Mode::empty())?))
    }

    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Opens a directory in it.
    pub(crate) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(fs::openat(&self.0, name, DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory in it, made if it is missing.
    pub(crate) fn enter_or_make(&self, name: &OsStr) -> io::Result<Self> {
        match self.enter(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.make(name)?;
                self.enter(name)
            }
            entered => entered,
        }
    }

    /// Makes a directory that must not exist.
    pub(crate) fn make(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o755))?)
    }

    /// Makes a file that must not exist.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// Makes a symbolic link where nothing is, as old as it says.
    pub(crate) fn link(&self, target: &[u8], name: &OsStr, seconds: i64) -> io::Result<()> {
        fs::symlinkat(OsStr::from_bytes(target), &self.0, name)?;
        Ok(fs::utimensat(&self.0, name, &changed(seconds), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives a file in this directory a second name in another one. Only a regular file has one.
    pub(crate) fn hard_link(&self, name: &OsStr, to: &Self, as_name: &OsStr) -> io::Result<()> {
        if !self.is_file(name)? {
            return Err(Errno::INVAL.into());
        }
        Ok(fs::linkat(&self.0, name, &to.0, as_name, AtFlags::empty())?)
    }

    /// Whether two open directories are one.
    pub(crate) fn is_same(&self, other: &Self) -> io::Result<bool> {
        let (a, b) = (fs::fstat(&self.0)?, fs::fstat(&other.0)?);
        Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    fn is_file(&self, name: &OsStr) -> io::Result<bool> {
        let stat = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    /// Removes a file, if one is there; a directory is an error.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        match fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Moves something from this directory to a name in another one, or in this one.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, as_name: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.0, name, &to.0, as_name)?)
    }

    /// Whether there is something of this name.
    pub(crate) fn has(&self, name: &OsStr) -> bool {
        fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes whatever has this name, with all that is in it.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        // One after another, since archives may nest deeper than a stack is.
        let mut open: Vec<(Self, OsString)> = vec![(self.again()?, name.to_owned())];
        while let Some((dir, name)) = open.pop() {
            match fs::unlinkat(&dir.0, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(e) => return Err(e.into()),
            }
            match fs::unlinkat(&dir.0, &name, AtFlags::REMOVEDIR) {
                Ok(()) => continue,
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            let inside = dir.enter(&name)?;
            let names = inside.names()?;
            open.push((dir, name));
            for name in names {
                open.push((inside.again()?, name));
            }
        }
        Ok(())
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_bytes().to_owned();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(&name).to_owned());
            }
        }
        Ok(names)
    }
}

/// Sets the permissions and the age of an open file or directory.
pub(crate) fn finish(what: &impl AsFd, mode: u32, seconds: i64) -> io::Result<()> {
    fs::fchmod(what, Mode::from_raw_mode(mode))?;
    Ok(fs::futimens(what, &changed(seconds))?)
}

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn changed(seconds: i64) -> Timestamps {
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    Timestamps { last_access: time(0, UTIME_OMIT), last_modification: time(seconds, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn no_link_is_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("f"), "theirs").unwrap();
        symlink(outside.path(), root.path().join("d")).unwrap();
        symlink(outside.path().join("f"), root.path().join("f")).unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let (d, f) = (OsStr::new("d"), OsStr::new("f"));
        assert!(dir.enter(d).is_err() && dir.enter_or_make(d).is_err());
        assert!(dir.create(f).is_err() && dir.make(d).is_err() && dir.link(b"x", f, 0).is_err());
        assert!(dir.hard_link(f, &dir, OsStr::new("g")).is_err());
        dir.remove(d).unwrap();
        dir.remove_file(f).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(outside.path().join("f")).unwrap(), "theirs");
    }

    #[test]
    fn what_is_deep_is_removed_whole() {
        let root = tempfile::tempdir().unwrap();
        let deep: std::path::PathBuf = (0..150).map(|_| "d").collect();
        fs::create_dir_all(root.path().join("a").join(&deep)).unwrap();
        fs::write(root.path().join("a").join(&deep).join("f"), "").unwrap();
        symlink("/etc", root.path().join("a/d/l")).unwrap();
        let dir = Dir::open(root.path()).unwrap();
        dir.remove(OsStr::new("a")).unwrap();
        dir.remove(OsStr::new("a")).unwrap();
        assert!(!root.path().join("a").exists());
    }
}
