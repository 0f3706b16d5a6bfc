//! Build contexts: which files of a directory go to the engine, and the archive that carries them.
//!
//! Symbolic links are sent as links and never followed. Owners are root, as Docker's own client
//! sends them; modes and times are kept. Memory stays flat: files are read as the engine takes them.

mod archive;
mod root;

pub(crate) use root::{Opener, Root, resized};

use crate::ignore::{self, Matcher};
use bytes::Bytes;
use kiln::{CancelToken, Error, ErrorKind, Result, StopReason};
use rustix::fs::FileType;
use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

const OP: &str = "Builder::build";

/// A file, directory or link of a context.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where it is, relative to the root of the context.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
    /// The permission bits, with set-uid, set-gid and sticky.
    pub(crate) mode: u32,
    /// When it was last changed, in nanoseconds since 1970.
    pub(crate) modified: i64,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A file on disk of so many bytes.
    File(u64),
    /// A file that is not on disk.
    Held(Bytes),
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Link(PathBuf),
}

impl Entry {
    /// How many bytes of content it has.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::File(bytes) => *bytes,
            Kind::Held(content) => content.len() as u64,
            Kind::Directory | Kind::Link(_) => 0,
        }
    }
}

/// What is sent to the engine.
#[derive(Clone, Debug, Default)]
pub struct Files {
    root: Option<Arc<Root>>,
    /// Parents before what is in them, and names ordered by their bytes, but for those added.
    entries: Vec<Entry>,
    /// The `.dockerignore` that belongs to the Dockerfile alone.
    own_ignore: Option<String>,
    bytes: u64,
}

/// One walk through a directory.
struct Walk<'a> {
    files: Files,
    root: Root,
    matcher: Matcher,
    dockerfile: &'a str,
    /// What stays whatever is left out.
    always: &'a [&'a str],
    cancel: &'a CancelToken,
}

impl Files {
    /// A context of nothing but a Dockerfile.
    pub fn only(name: &str, text: &[u8]) -> Self {
        let mut files = Self::default();
        files.add(name, text);
        files
    }

    /// The files of a directory that its `.dockerignore` leaves, and in any case that file and
    /// the Dockerfile.
    ///
    /// `Invalid` if the directory cannot be read, `.dockerignore` has a bad pattern, or there are
    /// more than `bytes_max` bytes; then the largest files are named. `Cancelled` if told to stop.
    pub fn of(
        root: &Path,
        dockerfile: Option<&str>,
        bytes_max: u64,
        cancel: &CancelToken,
    ) -> Result<Self> {
        let path = directory(root)?;
        let dockerfile = dockerfile.unwrap_or("Dockerfile");
        let (matcher, own_ignore) = ignore_file(&path, dockerfile)?;
        let always = [".dockerignore", dockerfile];
        let files = Self { own_ignore, ..Self::default() };
        files.walk(&path, matcher, dockerfile, &always, bytes_max, cancel)
    }

    /// The files of a directory that these patterns leave, written as in `.dockerignore`. A
    /// `.dockerignore` of the directory counts for nothing.
    ///
    /// Errors are those of [`Files::of`].
    pub fn but(root: &Path, patterns: &str, bytes_max: u64, cancel: &CancelToken) -> Result<Self> {
        let matcher = ignore::parse(patterns)
            .map_err(|e| Error::new(ErrorKind::Invalid, OP, format!("what is left out: {e}")))?;
        Self::default().walk(&directory(root)?, matcher, "", &[], bytes_max, cancel)
    }

    fn walk(
        self,
        path: &Path,
        matcher: Matcher,
        dockerfile: &str,
        always: &[&str],
        bytes_max: u64,
        cancel: &CancelToken,
    ) -> Result<Self> {
        let root = Root::open(path).map_err(|e| unreadable(path, &e))?;
        let mut walk = Walk { files: self, root, matcher, dockerfile, always, cancel };
        walk.below(Path::new(""))?;
        let Walk { mut files, root, .. } = walk;
        files.root = Some(Arc::new(root));
        if files.bytes > bytes_max {
            return Err(files.too_large(bytes_max));
        }
        Ok(files)
    }

    /// Adds a file that is not in the directory.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        self.bytes += content.len() as u64;
        self.entries.push(Entry {
            path: name.into(),
            kind: Kind::Held(Bytes::copy_from_slice(content)),
            mode: 0o644,
            modified: 0,
        });
    }

    /// Makes sure that the `.dockerignore` of the Dockerfile of this name is among the files, also
    /// if it says itself that it is not wanted: so that whoever reads the files as a context again
    /// reads them by the same rules.
    pub fn keep_own_ignore(&mut self, dockerfile: &str) {
        let name = format!("{dockerfile}.dockerignore");
        let Some(text) = self.own_ignore.clone() else { return };
        if !self.entries.iter().any(|e| e.path == Path::new(&name)) {
            self.add(&name, text.as_bytes());
        }
    }

    /// How many bytes of files there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many files, directories and links there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, in the order of a walk.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where the files are that are on disk.
    pub(crate) fn root(&self) -> Option<&Root> {
        self.root.as_deref()
    }

    /// The text of the `.dockerignore` that belongs to the Dockerfile alone.
    pub(crate) fn own_ignore(&self) -> Option<&str> {
        self.own_ignore.as_deref()
    }

    /// Whether every name is text, which some ways of sending need.
    pub(crate) fn is_text(&self) -> bool {
        self.entries.iter().all(|e| match &e.kind {
            Kind::Link(target) => e.path.to_str().is_some() && target.to_str().is_some(),
            _ => e.path.to_str().is_some(),
        })
    }

    fn too_large(&self, bytes_max: u64) -> Error {
        let mut largest: Vec<_> = self.entries.iter().collect();
        largest.sort_by_key(|e| std::cmp::Reverse(e.bytes()));
        let names: Vec<_> = largest
            .iter()
            .take(5)
            .map(|e| format!("{} ({} bytes)", e.path.display(), e.bytes()))
            .collect();
        Error::new(ErrorKind::Invalid, OP, "the context is larger than its limit")
            .with("bytes", self.bytes)
            .with("limit", bytes_max)
            .with("largest", names.join(", "))
            .hint("List what the build does not need in .dockerignore, or raise the limit.")
    }
}

impl Walk<'_> {
    fn below(&mut self, directory: &Path) -> Result<()> {
        if let Some(reason) = self.cancel.reason() {
            return Err(stopped(reason));
        }
        let found = self.root.list(directory).map_err(|e| unreadable(directory, &e))?;
        for found in found {
            let path = directory.join(&found.name);
            let text = path.to_string_lossy();
            let always = self.always.iter().any(|name| *name == text);
            let excluded = !always && self.matcher.excludes(&text);
            let kind = match (found.kind, found.target) {
                (FileType::Directory, _) => Kind::Directory,
                (FileType::RegularFile, _) => Kind::File(found.bytes),
                (FileType::Symlink, Some(target)) => Kind::Link(target),
                _ => continue,
            };
            let entry =
                Entry { path: path.clone(), kind, mode: found.mode, modified: found.modified };
            if found.kind != FileType::Directory {
                if !excluded {
                    self.files.bytes += entry.bytes();
                    self.files.entries.push(entry);
                }
                continue;
            }
            let needed = Path::new(self.dockerfile).starts_with(&path);
            if excluded && self.matcher.prunes(&text) && !needed {
                continue;
            }
            let at = self.files.entries.len();
            self.files.entries.push(entry);
            self.below(&path)?;
            // A directory that is left out stays if something inside it does.
            if excluded && self.files.entries.len() == at + 1 {
                self.files.entries.pop();
            }
        }
        Ok(())
    }
}

fn directory(root: &Path) -> Result<PathBuf> {
    let path = root.canonicalize().map_err(|e| unreadable(root, &e))?;
    if path.is_dir() {
        return Ok(path);
    }
    Err(Error::new(ErrorKind::Invalid, OP, "the context is not a directory")
        .with("path", path.display()))
}

fn stopped(reason: StopReason) -> Error {
    Error::new(ErrorKind::Cancelled, OP, "the context was not read to its end")
        .with("reason", format!("{reason:?}"))
}

/// The `.dockerignore` of a context; one beside the Dockerfile and named after it comes first,
/// and its text is returned too.
fn ignore_file(root: &Path, dockerfile: &str) -> Result<(Matcher, Option<String>)> {
    let own = format!("{dockerfile}.dockerignore");
    for name in [own.as_str(), ".dockerignore"] {
        let path = root.join(name);
        // A link could lead anywhere; the file decides what is sent, so it must be in the context.
        let inside = path.canonicalize().is_ok_and(|p| p.starts_with(root));
        match fs::read(&path) {
            Ok(bytes) if inside => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let matcher = ignore::parse(&text).map_err(|e| {
                    Error::new(ErrorKind::Invalid, OP, format!("{name}, {e}"))
                        .hint("Patterns are described at docs.docker.com under `.dockerignore`.")
                })?;
                return Ok((matcher, (name == own).then_some(text)));
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unreadable(&path, &e)),
            _ => {}
        }
    }
    Ok((Matcher::default(), None))
}

pub(crate) fn unreadable(path: &Path, e: &io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, OP, "the build context cannot be read")
        .with("path", path.display())
        .source(e.to_string())
}

/// A name inside the root, for a path that was given relative to it or absolute; `None` if it is
/// elsewhere. Links are followed for the answer.
pub fn name_inside(root: &Path, path: &Path) -> Option<String> {
    let root = root.canonicalize().ok()?;
    let full = root.join(path);
    let real = full.canonicalize().ok()?;
    if !real.starts_with(&root) {
        return None;
    }
    // The file is sent under the name it was asked for, unless that goes through links.
    let clean = full.components().all(|c| !matches!(c, std::path::Component::ParentDir));
    let name =
        if clean { full.strip_prefix(&root).ok()? } else { real.strip_prefix(&root).ok()? };
    std::str::from_utf8(name.as_os_str().as_bytes()).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests;
