//! The way from nothing to a whole directory: first aside, then in place at once.

use crate::{
    dir::{Dir, is_astray},
    error::{self, FETCH},
    work::Stop,
};
use kiln::{Error, ErrorKind, Result, StepCx};
use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// How the directories begin that fetches work in.
const PREFIX: &str = ".kiln-git-";
const TREE: &str = "tree";
const OLD: &str = "old";
/// How long a cancelled call waits for its files to be removed.
const PATIENCE: Duration = Duration::from_millis(300);

/// A directory that work is done in. The last one who holds it has it removed.
#[derive(Debug)]
pub(crate) struct Workbench {
    path: PathBuf,
    dir: Dir,
    tree: Arc<Dir>,
    removed: Option<oneshot::Sender<()>>,
}

impl Drop for Workbench {
    fn drop(&mut self) {
        let (path, told) = (std::mem::take(&mut self.path), self.removed.take());
        // A thread, since many files take longer than whoever cancels a call may have to wait.
        let remove = move || {
            remove(&path);
            told.map(|told| told.send(()))
        };
        if let Err(e) = std::thread::Builder::new().name("kiln-git-tidy".into()).spawn(remove) {
            tracing::warn!(error = %e, "no thread to remove a temporary directory");
        }
    }
}

fn remove(path: &Path) {
    if let Err(e) = fs::remove_dir_all(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), error = %e, "a temporary directory remains");
    }
}

impl Workbench {
    /// Makes a directory in the workspace, or beside `into` if that is not in the workspace. What
    /// earlier attempts of the step left there is removed.
    pub(crate) fn new(cx: &StepCx, into: &Path, stop: &Stop) -> Result<Arc<Self>> {
        let io = |e| error::io(FETCH, "making a temporary directory", e);
        let base = base(cx, into);
        fs::create_dir_all(&base).map_err(io)?;
        let mine = format!("{PREFIX}{}-", cx.key.step);
        for entry in fs::read_dir(&base).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_string_lossy().starts_with(&mine) {
                // A call that was given up before its thread got here would find its successor.
                stop.check(FETCH)?;
                // It may be going away by itself.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        // A name that nobody else has: a thread of a call that was given up may still be at work.
        let name = OsString::from(format!("{mine}{}-{}", cx.key.attempt, random()));
        let parent = Dir::open(&base).map_err(io)?;
        parent.make(&name).map_err(io)?;
        let dir = parent.enter(&name).map_err(io)?;
        dir.make(TREE.as_ref()).map_err(io)?;
        let tree = Arc::new(dir.enter(TREE.as_ref()).map_err(io)?);
        Ok(Arc::new(Self { path: base.join(name), dir, tree, removed: None }))
    }

    /// Where the result is put together.
    pub(crate) fn tree(&self) -> Arc<Dir> {
        self.tree.clone()
    }

    /// The path of [`tree`](Self::tree), for libgit2.
    pub(crate) fn tree_path(&self) -> PathBuf {
        self.path.join(TREE)
    }

    /// Where a received repository is kept.
    pub(crate) fn repository(&self, number: usize) -> PathBuf {
        self.path.join(repository(number))
    }

    /// Makes the first received repository the `.git` of the result.
    pub(crate) fn keep_repository(&self) -> io::Result<PathBuf> {
        self.dir.rename(repository(0).as_ref(), &self.tree, ".git".as_ref())?;
        Ok(self.tree_path().join(".git"))
    }

    /// Puts the result in place of whatever is at `into`.
    pub(crate) fn place(&self, cx: &StepCx, into: &Path) -> Result<()> {
        let io = |e| error::io(FETCH, "putting the files in place", e);
        if into == base(cx, into) {
            return self.place_inside(into).map_err(io);
        }
        let parent = parent(cx, into)?;
        let name = into.file_name().unwrap_or_default();
        match parent.rename(name, &self.dir, OLD.as_ref()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        self.dir.rename(TREE.as_ref(), &parent, name).map_err(io)?;
        if self.tree.is_at(&parent, name).map_err(io)? {
            return Ok(());
        }
        // Away with it: what reads the result next would follow it.
        parent.rename(name, &self.dir, "strange".as_ref()).map_err(io)?;
        let message = "what was fetched was exchanged for something else before it was in place";
        Err(Error::new(ErrorKind::Denied, FETCH, message))
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
        let there = Dir::open(into)?;
        for name in self.tree.names()? {
            self.tree.rename(&name, &there, &name)?;
        }
        Ok(())
    }

    /// Removes the directory and waits for that, but not for long once the call is cancelled.
    pub(crate) async fn clear(bench: Arc<Self>, cx: &StepCx) {
        // A thread that still holds it removes it later.
        let Some(mut bench) = Arc::into_inner(bench) else { return };
        let (tell, mut told) = oneshot::channel();
        bench.removed = Some(tell);
        drop(bench);
        if cx.cancel.race(&mut told).await.is_err() {
            let _ = timeout(PATIENCE, told).await;
        }
    }
}

fn repository(number: usize) -> String {
    format!("repository-{number}")
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

/// Opens the directory above `into`. Missing ones are made; links that a step has put into the
/// workspace are not followed.
fn parent(cx: &StepCx, into: &Path) -> Result<Dir> {
    let io = |e| error::io(FETCH, "making a directory", e);
    let Ok(below) = into.strip_prefix(&cx.workspace) else {
        return Dir::open(into.parent().unwrap_or(into)).map_err(io);
    };
    let above: &OsStr = below.parent().unwrap_or(Path::new("")).as_ref();
    let workspace = Dir::open(&cx.workspace).map_err(io)?;
    workspace.descend_and_make(Path::new(above)).map_err(|e| {
        if !is_astray(&e) {
            return io(e);
        }
        let message = "the way to the directory is not made of directories of the workspace";
        Error::new(ErrorKind::Denied, FETCH, message).with("directory", below.display())
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use kiln_conformance::step::TestStep;

    #[test]
    fn a_result_that_was_exchanged_is_not_put_in_place() {
        kiln_conformance::run("a_result_that_was_exchanged_is_not_put_in_place", async {
            let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let step = TestStep::new().workspace(home.path());
            let into = home.path().join("src");
            let bench = Workbench::new(step.cx(), &into, &Stop::default()).unwrap();
            fs::rename(bench.tree_path(), home.path().join("away")).unwrap();
            std::os::unix::fs::symlink(outside.path(), bench.tree_path()).unwrap();
            let e = bench.place(step.cx(), &into).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Denied, "{e:?}");
            assert!(fs::symlink_metadata(&into).is_err(), "the link is in place");
        });
    }

    #[test]
    fn a_call_that_was_given_up_leaves_its_successor_alone() {
        kiln_conformance::run("a_call_that_was_given_up_leaves_its_successor_alone", async {
            let home = tempfile::tempdir().unwrap();
            let step = TestStep::new().workspace(home.path());
            let into = home.path().join("src");
            let successor = Workbench::new(step.cx(), &into, &Stop::default()).unwrap();
            let given_up = Stop::default();
            given_up.set();
            let e = Workbench::new(step.cx(), &into, &given_up).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Cancelled, "{e:?}");
            assert!(successor.tree_path().is_dir());
            // Whoever was not given up takes what the one before left.
            Workbench::new(step.cx(), &into, &Stop::default()).unwrap();
            assert!(!successor.tree_path().exists());
        });
    }
}
