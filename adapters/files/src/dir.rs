//! A directory that stays the same one, whatever happens to its name.

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// Files are for their user alone.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Directories too.
const DIR_MODE: Mode = Mode::RWXU;
/// How many names are read before they are acted on.
const NAMES_MAX: usize = 1024;

/// An open directory. Whatever is done here happens in it and not where a path leads by now, and
/// no symbolic link is ever followed.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

/// Which file it is on this machine: its device and its number there.
pub(crate) type Identity = (u64, u64);

impl Dir {
    /// Opens a directory by its path. The last part may not be a link; the others are trusted.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::at(fs::CWD, path)
    }

    fn at(dir: impl AsFd, path: impl rustix::path::Arg) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(fs::openat(dir, path, flags, Mode::empty())?))
    }

    /// A directory in this one.
    pub(crate) fn sub(&self, name: impl rustix::path::Arg) -> io::Result<Self> {
        Self::at(&self.0, name)
    }

    /// Makes a directory in this one; false if there is one of that name.
    pub(crate) fn make(&self, name: &str) -> io::Result<bool> {
        match fs::mkdirat(&self.0, name, DIR_MODE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens a file to be read. It waits for nobody, also where the file is a pipe.
    pub(crate) fn read(&self, name: impl rustix::path::Arg) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.file(name, flags)
    }

    /// Opens a file to be read and written, and makes it where needed.
    pub(crate) fn write(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Makes a file to be written; `AlreadyExists` if there is one.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn file(&self, name: impl rustix::path::Arg, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, name, flags, FILE_MODE)?.into())
    }

    /// What a name stands for, be it a link.
    pub(crate) fn kind(&self, name: &CStr) -> io::Result<FileType> {
        let stat = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// Where a symbolic link leads.
    pub(crate) fn link(&self, name: &CStr) -> io::Result<CString> {
        Ok(fs::readlinkat(&self.0, name, Vec::new())?)
    }

    /// Which file a name stands for; none if there is no such name.
    pub(crate) fn identity(&self, name: &str) -> io::Result<Option<Identity>> {
        match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Gives a file of this directory another name, here or in another directory. What has the
    /// new name is replaced.
    pub(crate) fn rename(
        &self,
        from: impl rustix::path::Arg,
        to: &Dir,
        name: &str,
    ) -> io::Result<()> {
        Ok(fs::renameat(&self.0, from, &to.0, name)?)
    }

    /// Removes a file; one that is not there too.
    pub(crate) fn remove(&self, name: impl rustix::path::Arg) -> io::Result<()> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty directory; one that is not there too.
    pub(crate) fn remove_dir(&self, name: impl rustix::path::Arg) -> io::Result<()> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: impl rustix::path::Arg, flags: AtFlags) -> io::Result<()> {
        match fs::unlinkat(&self.0, name, flags) {
            Err(e) if e != rustix::io::Errno::NOENT => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// The names in the directory that are text.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            names.extend(entry.file_name().to_str().ok().map(str::to_owned));
        }
        names.retain(|name| name != "." && name != "..");
        Ok(names)
    }

    /// Some of the entries, and all of them if they are few.
    pub(crate) fn some(&self) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
            if names.len() == NAMES_MAX {
                break;
            }
        }
        Ok(names)
    }

    /// Gives this user every right on a directory of this one, whatever its mode says.
    pub(crate) fn open_up(&self, name: &CStr) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = fs::openat(&self.0, name, flags, Mode::empty())?;
        // By the descriptor, since the name may be a link to a directory of the host by now.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
        Ok(fs::chmodat(fs::CWD, path, DIR_MODE, AtFlags::empty())?)
    }

    /// Waits until the names in the directory are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.0)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Which file this is.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    let stat = fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}
