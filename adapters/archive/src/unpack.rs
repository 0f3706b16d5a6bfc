//! From an archive to files.
//!
//! Symbolic links come last, when everything else is written, so that no entry is ever written
//! through one; they are made as the archive has them and followed by nobody here.

use crate::{
    ArchiveConfig,
    bytes::{Hashed, decoded},
    dir::{self, Dir},
    error::{self, refused, shown},
    pack::{Entry, Kind, Reader, unreadable},
    place::Place,
};
use kiln::{Error, ErrorKind, RelPath, Result};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// How long a path may be, in bytes: what most programs can still open.
const PATH_MAX: usize = 4000;
/// How deep directories may be nested.
const DEPTH_MAX: usize = 200;
/// How much content is written at once.
const PIECE: usize = 128 << 10;

/// An archive that is unpacked, but not in its place yet.
pub(crate) struct Unpacked {
    place: Place,
    digest: String,
}

impl Unpacked {
    /// Makes sure that it was just the archive that was meant.
    pub(crate) fn expect(&self, digest: &str) -> Result<()> {
        if self.digest == digest {
            return Ok(());
        }
        let message = "the archive is not the one that was kept";
        Err(Error::new(ErrorKind::Corrupt, error::FETCH, message)
            .with("digest", &self.digest)
            .with("expected", digest))
    }

    pub(crate) fn put(self) -> Result<()> {
        self.place.put()
    }
}

/// Unpacks a part of an archive, on a thread of its own. It ends soon after the bytes do.
pub(crate) async fn unpack(
    config: &ArchiveConfig,
    place: Place,
    mut from: Hashed,
    subdir: &RelPath,
) -> Result<Unpacked> {
    let (files_max, written_max) = (config.files_max, config.written_max);
    let subdir = PathBuf::from(subdir.as_str());
    let work = move || {
        let root = place.dir().map_err(|e| error::io("opening the new directory", e))?;
        let mut writer = Writer {
            root,
            last: None,
            subdir,
            entries_left: files_max,
            bytes_left: written_max,
            links: BTreeMap::new(),
            directories: BTreeMap::new(),
            any: false,
        };
        decoded(&mut from, |plain| {
            // Whatever is between the contents counts too: a compressed nothing is small.
            let most = written_max.saturating_add(files_max.saturating_mul(4096));
            writer.all(Reader::new(Bounded { from: plain, left: most }))
        })?;
        writer.finish()?;
        let digest = from.digest().map_err(unreadable)?;
        Ok(Unpacked { place, digest })
    };
    let unpacked = tokio::task::spawn_blocking(work).await;
    unpacked.map_err(|e| Error::new(ErrorKind::Unexpected, error::FETCH, e.to_string()))?
}

/// A reader that gives so many bytes and then fails.
struct Bounded<'a> {
    from: &'a mut dyn Read,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or(io::ErrorKind::QuotaExceeded)?;
        Ok(n)
    }
}

/// What becomes of one entry at the end.
struct Later {
    mode: u32,
    modified: i64,
}

struct Writer {
    root: Dir,
    /// The directory that was opened last, since entries mostly come in order.
    last: Option<(PathBuf, Dir)>,
    subdir: PathBuf,
    entries_left: u64,
    bytes_left: u64,
    links: BTreeMap<PathBuf, (Vec<u8>, i64)>,
    directories: BTreeMap<PathBuf, Later>,
    /// Whether there was anything in the part that is wanted.
    any: bool,
}

impl Writer {
    fn all<R: Read>(&mut self, mut archive: Reader<R>) -> Result<()> {
        while let Some(entry) = archive.next()? {
            self.entries_left = self.entries_left.checked_sub(1).ok_or_else(|| {
                let message = "the archive has too many entries";
                Error::new(ErrorKind::Exhausted, error::FETCH, message)
                    .hint("Make a smaller one, or raise the limit of files.")
            })?;
            let Some(path) = self.wanted(clean(&entry.path)?) else { continue };
            self.any = true;
            if path.as_os_str().is_empty() {
                continue;
            }
            self.entry(&path, entry, &mut archive)?;
        }
        Ok(())
    }

    /// Where an entry goes; nowhere if it is not in the part that is wanted.
    fn wanted(&self, path: PathBuf) -> Option<PathBuf> {
        if self.subdir.as_os_str().is_empty() {
            return Some(path);
        }
        path.strip_prefix(&self.subdir).ok().map(Path::to_owned)
    }

    fn entry<R: Read>(&mut self, path: &Path, entry: Entry, from: &mut Reader<R>) -> Result<()> {
        let failed = |e: io::Error| failed(path, e);
        match entry.kind {
            Kind::Directory => {
                self.links.remove(path);
                let (parent, name) = self.parent(path)?;
                parent.enter_or_make(&name).map_err(failed)?;
                let later = Later { mode: entry.mode, modified: entry.modified };
                self.directories.insert(path.to_owned(), later);
            }
            Kind::File => {
                self.bytes_left = self.bytes_left.checked_sub(entry.bytes).ok_or_else(|| {
                    let message = "the files of the archive are too large";
                    Error::new(ErrorKind::Exhausted, error::FETCH, message)
                        .with("path", shown(&entry.path))
                        .hint("Make a smaller one, or raise the limit of written bytes.")
                })?;
                self.links.remove(path);
                let (parent, name) = self.parent(path)?;
                parent.remove_file(&name).map_err(failed)?;
                let mut file = parent.create(&name).map_err(failed)?;
                copy(&mut from.content(), &mut file, path)?;
                // Whoever builds must be able to read it.
                dir::finish(&file, entry.mode | 0o400, entry.modified).map_err(failed)?;
            }
            Kind::HardLink(target) => {
                let first = self.wanted(clean(&target)?).ok_or_else(|| {
                    refused(&shown(&entry.path), "it is a file outside of the part that is wanted")
                })?;
                self.links.remove(path);
                let (from, first) = self.parent(&first)?;
                let (parent, name) = self.parent(path)?;
                let same = parent.is_same(&from).map_err(failed)? && name == first;
                if !same {
                    parent.remove_file(&name).map_err(failed)?;
                    from.hard_link(&first, &parent, &name).map_err(|e| match e.kind() {
                        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => {
                            refused(&shown(&entry.path), "it is a second name of no file")
                        }
                        _ => failed(e),
                    })?;
                }
            }
            Kind::Link(target) => {
                if target.is_empty() || target.contains(&0) || target.len() > PATH_MAX {
                    return Err(refused(&shown(&entry.path), "it is a link to no path"));
                }
                let (parent, name) = self.parent(path)?;
                parent.remove_file(&name).map_err(failed)?;
                self.links.insert(path.to_owned(), (target, entry.modified));
            }
            Kind::Other => {
                let why = "only files, directories and links are unpacked";
                return Err(refused(&shown(&entry.path), why));
            }
        }
        Ok(())
    }

    /// The directory of a path, with the directories that are missing made on the way.
    fn parent(&mut self, path: &Path) -> Result<(Dir, OsString)> {
        let name = path.file_name().unwrap_or_default().to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        let failed = |e| failed(path, e);
        let dir = match self.last.take() {
            Some((last, dir)) if last == parent => dir,
            _ => {
                let mut dir = self.root.again().map_err(failed)?;
                let mut at = PathBuf::new();
                for part in parent {
                    at.push(part);
                    if self.links.contains_key(&at) {
                        return Err(refused(&path.to_string_lossy(), "its directory is a link"));
                    }
                    dir = dir.enter_or_make(part).map_err(failed)?;
                }
                dir
            }
        };
        self.last = Some((parent.to_owned(), dir.again().map_err(failed)?));
        Ok((dir, name))
    }

    /// Makes the links, and directories what they are to be, the innermost first.
    fn finish(mut self) -> Result<()> {
        if !self.any && !self.subdir.as_os_str().is_empty() {
            let message = "the archive has no such directory";
            return Err(Error::new(ErrorKind::NotFound, error::FETCH, message)
                .with("directory", self.subdir.display()));
        }
        for (path, (target, modified)) in std::mem::take(&mut self.links) {
            let (parent, name) = self.parent(&path)?;
            parent.link(&target, &name, modified).map_err(|e| failed(&path, e))?;
        }
        for (path, later) in std::mem::take(&mut self.directories).into_iter().rev() {
            let (parent, name) = self.parent(&path)?;
            let dir = parent.enter(&name).map_err(|e| failed(&path, e))?;
            // Whoever builds must be able to read it, and whoever cleans up to empty it.
            dir::finish(&dir, later.mode | 0o700, later.modified).map_err(|e| failed(&path, e))?;
        }
        Ok(())
    }
}

/// A path of an archive without what means nothing. What leads out of the archive is refused.
fn clean(path: &[u8]) -> Result<PathBuf> {
    let refuse = |why| Err(refused(&shown(path), why));
    if path.len() > PATH_MAX {
        return refuse("its path is longer than 4000 bytes");
    }
    if path.starts_with(b"/") {
        return refuse("its path is absolute");
    }
    let mut clean = PathBuf::new();
    for (depth, part) in path.split(|b| *b == b'/').enumerate() {
        match part {
            b"" | b"." => {}
            b".." => return refuse("its path leads upwards"),
            part if part.contains(&0) || part.len() > 255 => return refuse("its name is no name"),
            _ if depth > DEPTH_MAX => return refuse("directories are nested too deep"),
            part => clean.push(OsStr::from_bytes(part)),
        }
    }
    Ok(clean)
}

fn copy(from: &mut impl Read, to: &mut File, path: &Path) -> Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let n = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(unreadable(e)),
        };
        to.write_all(&piece[..n]).map_err(|e| failed(path, e))?;
    }
}

fn failed(path: &Path, e: io::Error) -> Error {
    let path = shown(&OsString::from(path).into_vec());
    match e.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => {
            refused(&path, "something else is in its place")
        }
        io::ErrorKind::NotADirectory => refused(&path, "its directory is none"),
        _ => error::io("writing a file", e).with("path", path),
    }
}
