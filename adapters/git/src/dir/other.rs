use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A directory by its path: this system cannot hold one open and work in it.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// Takes a directory at a path that is trusted.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(path.to_owned()))
    }

    /// The same directory once more.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.clone()))
    }

    /// A directory in it.
    pub(crate) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        let path = self.0.join(name);
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() { Ok(Self(path)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Makes a directory that must not exist.
    pub(crate) fn make(&self, name: &OsStr) -> io::Result<()> {
        fs::create_dir(self.0.join(name))
    }

    /// Makes a file that must not exist.
    pub(crate) fn create(&self, name: &OsStr, _executable: bool) -> io::Result<File> {
        File::create_new(self.0.join(name))
    }

    /// As git does where links need rights: a file that holds the target.
    pub(crate) fn link(&self, target: &[u8], name: &OsStr) -> io::Result<()> {
        File::create_new(self.0.join(name))?.write_all(target)
    }

    /// Moves something from this directory to another one.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, as_name: &OsStr) -> io::Result<()> {
        fs::rename(self.0.join(name), to.0.join(as_name))
    }

    /// Whether a name in another directory means a directory: more cannot be told here.
    pub(crate) fn is_at(&self, parent: &Self, name: &OsStr) -> io::Result<bool> {
        Ok(fs::symlink_metadata(parent.0.join(name))?.is_dir())
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name())).collect()
    }
}
