//! Removes a directory with all that is in it, while its owner may still be at work there.

use crate::dir::Dir;
use rustix::{fs::FileType, io::Errno};
use std::{
    ffi::{CStr, CString},
    io,
};

/// How often a directory that fills again is emptied.
const ROUNDS_MAX: usize = 16;

/// Removes a directory of another one; one that is not there too.
///
/// Directories are moved up before they are emptied, so that neither the stack nor the number of
/// open files limits how deep they may lie. Nothing outside is touched: no link is followed, and
/// every name is used below an open directory.
pub(crate) fn remove(base: &Dir, name: &str) -> io::Result<()> {
    let at = CString::new(name)?;
    for _ in 0..ROUNDS_MAX {
        match base.kind(&at) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(FileType::Directory) => {}
            Ok(_) => return base.remove(&*at),
            Err(e) => return Err(e),
        }
        let emptied = enter(base, &at).and_then(|root| Removal { root, moved: 0 }.run());
        match emptied.and_then(|()| base.remove_dir(&*at)) {
            Err(e) if is(&e, Errno::NOTEMPTY) || is(&e, Errno::EXIST) => {}
            // Somebody else removes it too; look again what is left.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Err(Errno::NOTEMPTY.into())
}

struct Removal {
    root: Dir,
    moved: u64,
}

impl Removal {
    fn run(&mut self) -> io::Result<()> {
        let mut left = Vec::new();
        loop {
            let names = self.root.some()?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                if !unlinked(&self.root, &name)? {
                    left.push(name);
                }
            }
            while let Some(name) = left.pop() {
                self.empty(&name, &mut left)?;
            }
        }
    }

    /// Removes the files of a directory, moves its directories up, and removes it.
    fn empty(&mut self, name: &CStr, left: &mut Vec<CString>) -> io::Result<()> {
        let dir = match enter(&self.root, name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Somebody put something else in its place.
            Err(e) if is(&e, Errno::NOTDIR) || is(&e, Errno::LOOP) => {
                return self.root.remove(name);
            }
            dir => dir?,
        };
        for _ in 0..ROUNDS_MAX {
            loop {
                let names = dir.some()?;
                if names.is_empty() {
                    break;
                }
                for inner in names {
                    if !unlinked(&dir, &inner)? {
                        left.extend(self.move_up(&dir, &inner)?);
                    }
                }
            }
            match self.root.remove_dir(name) {
                Err(e) if is(&e, Errno::NOTEMPTY) || is(&e, Errno::EXIST) => {}
                other => return other,
            }
        }
        Err(Errno::NOTEMPTY.into())
    }

    fn move_up(&mut self, dir: &Dir, name: &CStr) -> io::Result<Option<CString>> {
        loop {
            self.moved += 1;
            let new = format!(".kiln-removed-{}", self.moved);
            match dir.rename(name, &self.root, &new) {
                Ok(()) => return Ok(Some(CString::new(new)?)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                // Something has that name already.
                Err(e)
                    if [Errno::NOTEMPTY, Errno::EXIST, Errno::NOTDIR]
                        .iter()
                        .any(|n| is(&e, *n)) => {}
                // A directory that may not be written to cannot be moved either.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    dir.open_up(name)?;
                    return dir
                        .rename(name, &self.root, &new)
                        .and_then(|()| Ok(Some(CString::new(new)?)));
                }
                Err(e) => return Err(e),
            }
        }
    }
}

/// Opens a directory so that it can be emptied.
fn enter(dir: &Dir, name: &CStr) -> io::Result<Dir> {
    // Where this is not allowed it may not be needed either; what follows tells.
    let _ = dir.open_up(name);
    dir.sub(name)
}

/// Removes a file; false if it is a directory.
fn unlinked(dir: &Dir, name: &CStr) -> io::Result<bool> {
    match dir.remove(name) {
        Ok(()) => Ok(true),
        // Linux says the one of a directory, POSIX the other.
        Err(e) if is(&e, Errno::ISDIR) || is(&e, Errno::PERM) => match dir.kind(name) {
            Ok(FileType::Directory) => Ok(false),
            _ => Err(e),
        },
        Err(e) => Err(e),
    }
}

fn is(e: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(e) == Some(errno)
}
