//! Build contexts: which files of a directory go to the engine, and the archive that carries them.
//!
//! Symbolic links are sent as links and never followed. Owners are root, as Docker's own client
//! sends them; modes and times are kept. Memory stays flat: files are read as the engine takes them.

use crate::ignore::{self, Matcher};
use bytes::Bytes;
use kiln::{CancelToken, Error, ErrorKind, Result};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

const OP: &str = "Builder::build";
/// How many bytes go to the engine at a time.
const CHUNK: usize = 256 * 1024;

/// A file, directory or link of a context.
#[derive(Clone, Debug)]
struct Entry {
    path: PathBuf,
    bytes: u64,
}

/// What is sent to the engine.
#[derive(Clone, Debug, Default)]
pub struct Files {
    root: PathBuf,
    entries: Vec<Entry>,
    /// Files that are not in the directory, by name.
    extra: Vec<(String, Vec<u8>)>,
    bytes: u64,
}

impl Files {
    /// A context of nothing but a Dockerfile.
    pub fn only(name: &str, text: &[u8]) -> Self {
        Self { extra: vec![(name.into(), text.to_vec())], ..Self::default() }
    }

    /// The files of a directory that its `.dockerignore` leaves, and in any case that file and
    /// the Dockerfile.
    ///
    /// `Invalid` if the directory cannot be read, `.dockerignore` has a bad pattern, or there are
    /// more than `bytes_max` bytes; then the largest files are named.
    pub fn of(root: &Path, dockerfile: Option<&str>, bytes_max: u64) -> Result<Self> {
        let root = root.canonicalize().map_err(|e| unreadable(root, &e))?;
        if !root.is_dir() {
            return Err(Error::new(ErrorKind::Invalid, OP, "the context is not a directory")
                .with("path", root.display()));
        }
        let matcher = ignore_file(&root, dockerfile)?;
        let mut files = Self { root, ..Self::default() };
        files.walk(Path::new(""), &matcher, dockerfile.unwrap_or("Dockerfile"))?;
        if files.bytes > bytes_max {
            return Err(files.too_large(bytes_max));
        }
        Ok(files)
    }

    /// Adds a file that is not in the directory.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        self.extra.push((name.into(), content.to_vec()));
    }

    /// How many bytes of files there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many files, directories and links there are.
    pub fn len(&self) -> usize {
        self.entries.len() + self.extra.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn walk(&mut self, below: &Path, matcher: &Matcher, dockerfile: &str) -> Result<()> {
        let directory = self.root.join(below);
        let listed = fs::read_dir(&directory).and_then(|d| d.collect::<io::Result<Vec<_>>>());
        let mut names = listed.map_err(|e| unreadable(&directory, &e))?;
        names.sort_by_key(fs::DirEntry::file_name);
        for name in names {
            let path = below.join(name.file_name());
            let kind = name.file_type().map_err(|e| unreadable(&path, &e))?;
            let text = path.to_string_lossy();
            let always = text == ".dockerignore" || text == dockerfile;
            let excluded = !always && matcher.excludes(&text);
            if kind.is_dir() {
                let at = self.entries.len();
                if excluded
                    && matcher.prunes(&text)
                    && !dockerfile.starts_with(&*format!("{text}/"))
                {
                    continue;
                }
                self.walk(&path, matcher, dockerfile)?;
                // A directory that is left out stays if something inside it does.
                if !excluded || self.entries.len() > at {
                    self.entries.insert(at, Entry { path, bytes: 0 });
                }
            } else if !excluded && (kind.is_file() || kind.is_symlink()) {
                let bytes = match kind.is_file() {
                    true => name.metadata().map_err(|e| unreadable(&path, &e))?.len(),
                    false => 0,
                };
                self.bytes += bytes;
                self.entries.push(Entry { path, bytes });
            }
        }
        Ok(())
    }

    fn too_large(&self, bytes_max: u64) -> Error {
        let mut largest: Vec<_> = self.entries.iter().collect();
        largest.sort_by_key(|e| std::cmp::Reverse(e.bytes));
        let names: Vec<_> = largest
            .iter()
            .take(5)
            .map(|e| format!("{} ({} bytes)", e.path.display(), e.bytes))
            .collect();
        Error::new(ErrorKind::Invalid, OP, "the context is larger than its limit")
            .with("bytes", self.bytes)
            .with("limit", bytes_max)
            .with("largest", names.join(", "))
            .hint("List what the build does not need in .dockerignore, or raise the limit.")
    }

    /// Writes the archive from a thread of its own; pieces arrive in the channel, and an error
    /// last if there is one. Stops when told to, or when nobody takes the pieces any more.
    pub fn stream(
        self,
        cancel: CancelToken,
        mut sent: impl FnMut(u64) + Send + 'static,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        let (to, from) = mpsc::channel(8);
        tokio::task::spawn_blocking(move || {
            let pieces = Pieces { to: to.clone(), buffer: Vec::with_capacity(CHUNK), cancel };
            if let Err(e) = self.write(pieces, &mut sent) {
                // Nobody listens any more: there is nobody to tell.
                let _ = to.blocking_send(Err(e));
            }
        });
        from
    }

    fn write(self, pieces: Pieces, sent: &mut dyn FnMut(u64)) -> io::Result<()> {
        let mut tar = tar::Builder::new(pieces);
        for (name, content) in &self.extra {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content.as_slice())?;
        }
        for entry in &self.entries {
            append(&mut tar, &self.root, entry, sent)?;
        }
        tar.into_inner()?.flush()
    }
}

fn append(
    tar: &mut tar::Builder<Pieces>,
    root: &Path,
    entry: &Entry,
    sent: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let full = root.join(&entry.path);
    let meta = fs::symlink_metadata(&full)?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(&meta, tar::HeaderMode::Complete);
    header.set_uid(0);
    header.set_gid(0);
    if meta.is_symlink() {
        header.set_size(0);
        return tar.append_link(&mut header, &entry.path, fs::read_link(&full)?);
    }
    if meta.is_dir() {
        header.set_size(0);
        return tar.append_data(&mut header, &entry.path, io::empty());
    }
    let file = fs::File::open(&full)?;
    let size = file.metadata()?.len();
    header.set_size(size);
    let mut exact = Exact { inner: file.take(size), left: size, path: &entry.path, sent };
    tar.append_data(&mut header, &entry.path, &mut exact)
}

/// A file that must have the size that its header says.
struct Exact<'a> {
    inner: io::Take<fs::File>,
    left: u64,
    path: &'a Path,
    sent: &'a mut dyn FnMut(u64),
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left -= n as u64;
        if n == 0 && self.left > 0 {
            let text = format!("`{}` became shorter while it was sent", self.path.display());
            return Err(io::Error::other(text));
        }
        (self.sent)(n as u64);
        Ok(n)
    }
}

/// Cuts what is written into pieces and hands them on.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    cancel: CancelToken,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.to.blocking_send(Ok(piece.into())).map_err(|_| io::Error::other("nobody listens"))
    }
}

/// The `.dockerignore` of a context; one beside the Dockerfile and named after it comes first.
fn ignore_file(root: &Path, dockerfile: Option<&str>) -> Result<Matcher> {
    let own = format!("{}.dockerignore", dockerfile.unwrap_or("Dockerfile"));
    for name in [own.as_str(), ".dockerignore"] {
        let path = root.join(name);
        // A link could lead anywhere; the file decides what is sent, so it must be in the context.
        let inside = path.canonicalize().is_ok_and(|p| p.starts_with(root));
        match fs::read(&path) {
            Ok(bytes) if inside => {
                return ignore::parse(&String::from_utf8_lossy(&bytes)).map_err(|e| {
                    Error::new(ErrorKind::Invalid, OP, format!("{name}, {e}"))
                        .hint("Patterns are described at docs.docker.com under `.dockerignore`.")
                });
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unreadable(&path, &e)),
            _ => {}
        }
    }
    Ok(Matcher::default())
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
pub(crate) fn name_inside(root: &Path, path: &Path) -> Option<String> {
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
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let files = Files::of(root, None, u64::MAX).unwrap();
        files.entries.iter().map(|e| e.path.display().to_string()).collect()
    }

    #[tokio::test]
    async fn the_archive_holds_what_is_not_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("out")).unwrap();
        for (name, text) in
            [("a/b/x.txt", "x"), ("a/y.log", "y"), ("out/z", "z"), ("Dockerfile", "FROM scratch")]
        {
            fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        fs::write(at(".dockerignore"), "out\n**/*.log\nDockerfile\n").unwrap();
        assert_eq!(
            names(dir.path()),
            [".dockerignore", "Dockerfile", "a", "a/b", "a/b/x.txt", "link"]
        );
        let files = Files::of(dir.path(), None, u64::MAX).unwrap();
        let mut from = files.stream(CancelToken::new(), |_| {});
        let mut bytes = Vec::new();
        while let Some(piece) = from.recv().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let links: Vec<_> = archive
            .entries()
            .unwrap()
            .filter_map(|e| e.unwrap().link_name().unwrap().map(|l| l.display().to_string()))
            .collect();
        assert_eq!(links, ["/etc/passwd"]);
    }

    #[test]
    fn a_limit_names_the_largest_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("big"), vec![0; 5000]).unwrap();
        let e = Files::of(dir.path(), None, 4000).unwrap_err();
        assert!(e.to_string().contains("big (5000 bytes)"), "{e}");
    }

    #[test]
    fn a_name_never_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
        assert_eq!(name_inside(dir.path(), Path::new("f")).as_deref(), Some("f"));
        assert_eq!(name_inside(dir.path(), Path::new("out")), None);
        assert_eq!(name_inside(dir.path(), Path::new("../x")), None);
    }

    #[tokio::test]
    async fn nobody_listening_ends_the_thread() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("big"), vec![0; 10 << 20]).unwrap();
        let files = Files::of(dir.path(), None, u64::MAX).unwrap();
        drop(files.stream(CancelToken::new(), |_| {}));
    }
}
