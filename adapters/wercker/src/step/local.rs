//! Steps in directories of this machine.

use kiln::{Error, ErrorKind, Result};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// How many files and directories a step may have, and how many bytes.
const LIMITS: (usize, u64) = (20_000, 512 * 1024 * 1024);
/// How deep directories of a step may go.
const DEPTH_MAX: usize = 64;
const OP: &str = "step::copy_local";

/// Where a local step is: an absolute path, or one that is relative to the project.
///
/// A path that stays in the project by its text has to stay there by its links too. Only for
/// machines whose user wrote the `wercker.yml`: a server refuses such steps.
pub fn local_path(project: &Path, path: &Path) -> Result<PathBuf> {
    let real = |path: &Path| {
        let hint = "A local step is a directory with a `run.sh` in it.";
        fs::canonicalize(path).map_err(|e| failed(path, &e).hint(hint))
    };
    let full = real(&if path.is_absolute() { path.to_path_buf() } else { project.join(path) })?;
    if stays_below(path) && !full.starts_with(real(project)?) {
        return Err(refused(path, "a link on the way to it leads out of the project"));
    }
    match full.is_dir() {
        true => Ok(full),
        false => Err(refused(&full, "it is no directory")),
    }
}

/// Whether a path stays below where it begins, going by its text.
fn stays_below(path: &Path) -> bool {
    let mut depth = 0_usize;
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

/// Copies a directory to a place where nothing is yet: files and directories with their permission
/// bits, and links that stay inside of it. Links that lead out and everything that is neither are
/// refused. What cannot be copied whole is not there afterwards.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copy = Copy { root: from, entries: 0, bytes: 0 };
    let done = copy.directory(from, to, 0);
    if done.is_err() {
        let _ = fs::remove_dir_all(to);
    }
    done
}

/// Copies the directory of a local step into a place where nothing is yet, such as its directory
/// of a workspace. See [`local_path`].
pub fn copy_local(from: &Path, to: &Path) -> Result<()> {
    copy(from, to)
}

struct Copy<'a> {
    root: &'a Path,
    entries: usize,
    bytes: u64,
}

impl Copy<'_> {
    fn directory(&mut self, from: &Path, to: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(refused(from, "its directories are too deep"));
        }
        let failed_from = |e: io::Error| failed(from, &e);
        if depth == 0 {
            let parent = to.parent().unwrap_or(to);
            fs::create_dir_all(parent).map_err(|e| failed(parent, &e))?;
        }
        fs::create_dir(to).map_err(|e| failed(to, &e))?;
        for entry in fs::read_dir(from).map_err(failed_from)? {
            let entry = entry.map_err(failed_from)?;
            self.entries += 1;
            if self.entries > LIMITS.0 {
                return Err(refused(self.root, "it has too many files"));
            }
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let meta = fs::symlink_metadata(&source).map_err(|e| failed(&source, &e))?;
            if meta.is_dir() {
                self.directory(&source, &target, depth + 1)?;
            } else if meta.is_symlink() {
                self.link(&source, &target, depth)?;
            } else if meta.is_file() {
                self.file(&source, &target, &meta)?;
            } else {
                return Err(refused(&source, "it is neither a file nor a directory nor a link"));
            }
        }
        let meta = fs::symlink_metadata(from).map_err(failed_from)?;
        fs::set_permissions(to, tame(&meta, 0o700)).map_err(|e| failed(to, &e))
    }

    fn file(&mut self, source: &Path, target: &Path, meta: &fs::Metadata) -> Result<()> {
        let mut from = fs::File::open(source).map_err(|e| failed(source, &e))?;
        let opened = from.metadata().map_err(|e| failed(source, &e))?;
        if !same_file(meta, &opened) {
            return Err(refused(source, "it became something else while it was copied"));
        }
        let mut to = fs::File::create_new(target).map_err(|e| failed(target, &e))?;
        let left = LIMITS.1.saturating_sub(self.bytes);
        let mut limited = io::Read::take(&mut from, left + 1);
        let copied = io::copy(&mut limited, &mut to).map_err(|e| failed(source, &e))?;
        self.bytes += copied;
        if copied > left {
            return Err(refused(self.root, "it has too many bytes"));
        }
        to.set_permissions(tame(&opened, 0o600)).map_err(|e| failed(target, &e))
    }

    /// Copies a link whose target is inside. That is judged by its text: it goes up from its own
    /// directory, which is no link, and then only down, where every other link is inside too.
    fn link(&self, source: &Path, target: &Path, depth: usize) -> Result<()> {
        let leads_to = fs::read_link(source).map_err(|e| failed(source, &e))?;
        let (mut up, mut down) = (0, false);
        for part in leads_to.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(_) => down = true,
                Component::ParentDir if !down && up < depth => up += 1,
                _ => return Err(refused(source, "the link leads out of the step")),
            }
        }
        make_link(&leads_to, target).map_err(|e| failed(target, &e))
    }
}

/// The permissions of a copy: without set-uid, set-gid and sticky bits, and never so that whoever
/// made it cannot remove it.
#[cfg(unix)]
fn tame(meta: &fs::Metadata, least: u32) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(meta.permissions().mode() & 0o777 | least)
}

#[cfg(not(unix))]
fn tame(meta: &fs::Metadata, _: u32) -> fs::Permissions {
    meta.permissions()
}

#[cfg(unix)]
fn make_link(leads_to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(leads_to, at)
}

#[cfg(not(unix))]
fn make_link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(unix)]
fn same_file(seen: &fs::Metadata, opened: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    opened.is_file() && (seen.dev(), seen.ino()) == (opened.dev(), opened.ino())
}

#[cfg(not(unix))]
fn same_file(_: &fs::Metadata, opened: &fs::Metadata) -> bool {
    opened.is_file()
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, OP, format!("the step cannot be used: {why}"))
        .with("path", path.display())
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, OP, format!("the step cannot be copied: {error}")).with("path", path.display())
}
