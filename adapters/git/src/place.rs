//! The way from nothing to a whole directory: first aside, then in place at once.

use crate::error::{self, FETCH};
use kiln::{Error, ErrorKind, Result, StepCx};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// How the directories begin that fetches work in.
const PREFIX: &str = ".kiln-git-";

/// A directory that work is done in. The last one who holds it removes it.
#[derive(Debug)]
pub(crate) struct Workbench(PathBuf);

impl Drop for Workbench {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), error = %e, "a temporary directory remains");
        }
    }
}

impl Workbench {
    /// Makes a directory in the workspace, or beside `into` if that is not in the workspace. What
    /// earlier attempts of the step left there is removed.
    pub(crate) fn new(cx: &StepCx, into: &Path) -> Result<Arc<Self>> {
        let io = |e| error::io(FETCH, "making a temporary directory", e);
        let base = base(cx, into);
        fs::create_dir_all(&base).map_err(io)?;
        let mine = format!("{PREFIX}{}-", cx.key.step);
        for entry in fs::read_dir(&base).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_string_lossy().starts_with(&mine) {
                // It may be going away by itself.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        // A name that nobody else has: a thread of a call that was given up may still be at work.
        let path = base.join(format!("{mine}{}-{}", cx.key.attempt, random()));
        fs::create_dir(&path).map_err(io)?;
        fs::create_dir(path.join("tree")).map_err(io)?;
        Ok(Arc::new(Self(path)))
    }

    /// Where the result is put together.
    pub(crate) fn tree(&self) -> PathBuf {
        self.0.join("tree")
    }

    /// Where a received repository is kept.
    pub(crate) fn repository(&self, number: usize) -> PathBuf {
        self.0.join(format!("repository-{number}"))
    }

    /// Puts the result in place of whatever is at `into`.
    pub(crate) fn place(&self, cx: &StepCx, into: &Path) -> Result<()> {
        let io = |e| error::io(FETCH, "putting the files in place", e);
        if into == base(cx, into) {
            return self.place_inside(into).map_err(io);
        }
        make_parents(cx, into)?;
        let old = self.0.join("old");
        match fs::rename(into, &old) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        fs::rename(self.tree(), into).map_err(io)
    }

    /// The workspace itself cannot be exchanged: its entries are, one by one.
    fn place_inside(&self, into: &Path) -> io::Result<()> {
        for entry in fs::read_dir(into)? {
            let entry = entry?;
            let is_directory = entry.file_type()?.is_dir();
            if is_directory && entry.file_name().to_string_lossy().starts_with(PREFIX) {
                continue;
            }
            if is_directory {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        for entry in fs::read_dir(self.tree())? {
            let entry = entry?;
            fs::rename(entry.path(), into.join(entry.file_name()))?;
        }
        Ok(())
    }
}

fn random() -> String {
    kiln::BuildId::random().as_str()[..8].to_owned()
}

fn base(cx: &StepCx, into: &Path) -> PathBuf {
    if into.starts_with(&cx.workspace) {
        return cx.workspace.clone();
    }
    into.parent().unwrap_or(into).to_owned()
}

/// Makes the directories above `into`, and refuses to go through links that a step has put into
/// the workspace.
fn make_parents(cx: &StepCx, into: &Path) -> Result<()> {
    let Ok(below) = into.strip_prefix(&cx.workspace) else { return Ok(()) };
    let mut at = cx.workspace.clone();
    for part in below.parent().unwrap_or(Path::new("")).components() {
        let Component::Normal(part) = part else {
            return Err(Error::new(
                ErrorKind::Invalid,
                FETCH,
                "the directory leads out of the workspace",
            ));
        };
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let message = "the way to the directory is not made of directories";
                return Err(Error::new(ErrorKind::Denied, FETCH, message).with("at", at.display()));
            }
            Err(_) => fs::create_dir(&at).map_err(|e| error::io(FETCH, "making a directory", e))?,
        }
    }
    Ok(())
}
