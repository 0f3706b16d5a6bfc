//! Where an archive is unpacked: beside its place first, and there when it is whole.

use crate::{dir::Dir, error};
use kiln::{BuildId, Error, ErrorKind, Result, StepCx};
use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path},
};

/// A new directory that becomes what was asked for, or nothing.
#[derive(Debug)]
pub(crate) struct Place {
    parent: Dir,
    /// The name that it gets; without one, what is in it goes to where it is itself.
    name: Option<OsString>,
    /// The name of the new directory, until it has its own.
    new: Option<OsString>,
}

impl Place {
    /// Makes a new directory beside `into`, or in it if that is the workspace itself. Below the
    /// workspace no link is followed on the way. What earlier attempts of the step left is removed.
    pub(crate) fn new(cx: &StepCx, into: &Path) -> Result<Self> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::NotADirectory => {
                let message = "a link or a file is in the way of the directory";
                Error::new(ErrorKind::Denied, error::FETCH, message).with("path", into.display())
            }
            _ => error::io("making the directory", e),
        };
        let (root, below) = match into.strip_prefix(&cx.workspace) {
            Ok(below) => (cx.workspace.as_path(), below),
            Err(_) => (into.parent().unwrap_or(Path::new("/")), last(into)),
        };
        std::fs::create_dir_all(root).map_err(failed)?;
        let mut parent = Dir::open(root).map_err(failed)?;
        let mut name = None;
        for part in below.components() {
            let Component::Normal(part) = part else {
                return Err(failed(io::ErrorKind::NotADirectory.into()));
            };
            if let Some(above) = name.replace(part) {
                parent = parent.enter_or_make(above).map_err(failed)?;
            }
        }
        let mine = format!(".kiln-archive-{}-", cx.key.step);
        for old in parent.names().map_err(failed)? {
            if old.to_string_lossy().starts_with(&mine) {
                // Whoever was given up may still remove it too.
                let _ = parent.remove(&old);
            }
        }
        let new = OsString::from(format!("{mine}{}", BuildId::random()));
        parent.make(&new).map_err(failed)?;
        Ok(Self { parent, name: name.map(OsStr::to_owned), new: Some(new) })
    }

    /// The new directory.
    pub(crate) fn dir(&self) -> io::Result<Dir> {
        self.parent.enter(self.new.as_deref().unwrap_or_default())
    }

    /// Gives what is new its own name, in place of what was there.
    pub(crate) fn put(mut self) -> Result<()> {
        let Some(new) = self.new.take() else { return Ok(()) };
        let put = match &self.name {
            Some(name) => self.exchange(&new, name),
            None => self.spread(&new),
        };
        put.map_err(|e| {
            self.new = Some(new);
            error::io("putting the directory into its place", e)
        })
    }

    fn exchange(&self, new: &OsStr, name: &OsStr) -> io::Result<()> {
        let mut old = new.to_owned();
        old.push("-old");
        if self.parent.has(name) {
            self.parent.rename(name, &self.parent, &old)?;
        }
        self.parent.rename(new, &self.parent, name)?;
        self.parent.remove(&old)
    }

    fn spread(&self, new: &OsStr) -> io::Result<()> {
        let from = self.parent.enter(new)?;
        for name in from.names()? {
            self.parent.remove(&name)?;
            from.rename(&name, &self.parent, &name)?;
        }
        self.parent.remove(new)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(new) = self.new.take() {
            // What cannot be removed goes with the workspace.
            let _ = self.parent.remove(&new);
        }
    }
}

fn last(path: &Path) -> &Path {
    path.file_name().map_or(Path::new(""), Path::new)
}
