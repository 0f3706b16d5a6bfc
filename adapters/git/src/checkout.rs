//! Writing a tree into a directory that is new and ours.
//!
//! Not libgit2's checkout: that one knows filters, attributes, and repositories that were there
//! before; cannot be stopped; and follows links. Here every directory and file is made anew and
//! must not exist, which finds names that are one on this file system; links come last; and every
//! step goes from an open directory to one name in it, so that nothing is ever written through a
//! link, not even through one that somebody else puts there meanwhile.

use crate::{
    GitConfig,
    dir::{Dir, is_astray},
    error::{self, FETCH},
    names,
    text::clean,
    work::Stop,
};
use git2::{ObjectType, Oid, Repository, Tree};
use kiln::{Error, ErrorKind, RelPath, Result};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// How deep directories may be nested.
const DEPTH_MAX: usize = 200;
/// How long the target of a link may be: what Linux allows.
const LINK_MAX: usize = 4095;
/// How long a path in a repository may be, in bytes: what most programs can still open.
const PATH_MAX: usize = 4000;
/// How large a commit or a directory may be, in bytes; libgit2 has each in memory as a whole.
const OBJECT_MAX: usize = 128 << 20;

/// A submodule that a tree names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gitlink {
    /// Where it lies in its repository.
    pub(crate) path: PathBuf,
    /// Where it lies in what is written.
    pub(crate) at: PathBuf,
    pub(crate) commit: Oid,
}

/// What was found where a checkout began.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) links: Vec<Gitlink>,
    /// `.gitmodules`, if the repository has one.
    pub(crate) modules: Option<String>,
}

/// Writes trees below one directory, within limits that hold for all of them together.
#[derive(Debug)]
pub(crate) struct Writer {
    root: Arc<Dir>,
    entries_left: u64,
    bytes_left: u64,
    symlinks: Vec<(PathBuf, Vec<u8>)>,
    /// How many files hold no content but a note that it is in LFS.
    pub(crate) pointers: u64,
    /// How many files and links were written.
    pub(crate) files: u64,
}

impl Writer {
    /// Writes below a directory, which must exist and be empty.
    pub(crate) fn new(root: Arc<Dir>, config: &GitConfig) -> Self {
        let (entries_left, bytes_left) = (config.files_max, config.written_max);
        Self { root, entries_left, bytes_left, symlinks: Vec::new(), pointers: 0, files: 0 }
    }

    /// Writes a directory of a commit to a place below the root, which must be there already.
    pub(crate) fn write(
        &mut self,
        repository: &Repository,
        id: Oid,
        subdir: &RelPath,
        at: &Path,
        stop: &Stop,
    ) -> Result<Written> {
        let commit = |e| error::git(FETCH, "reading the commit", &e).with("commit", id);
        let size = repository.odb().and_then(|odb| odb.read_header(id));
        if size.is_err_and(|e| e.code() == git2::ErrorCode::NotFound) {
            return Err(error::no_commit(id));
        }
        small(repository, id, Path::new(""))?;
        let tree =
            repository.find_object(id, None).and_then(|o| o.peel_to_tree()).map_err(commit)?;
        let modules = read_modules(repository, &tree)?;
        let start = find(repository, tree, subdir)?;
        let mut links = Vec::new();
        let mut open = vec![(start, PathBuf::from(subdir.as_str()), at.to_owned(), 0)];
        while let Some((tree, path, at, depth)) = open.pop() {
            let dir = self.root.descend(&at).map_err(|e| failed(&at, e))?;
            for entry in &tree {
                stop.check(FETCH)?;
                let name = checked(entry.name_bytes(), &at)?;
                let (path, at) = (path.join(&name), at.join(&name));
                self.count(&at)?;
                match entry.filemode_raw() & 0o170_000 {
                    0o040_000 if depth < DEPTH_MAX => {
                        dir.make(&name).map_err(|e| failed(&at, e))?;
                        let tree = find_tree(repository, entry.id(), &at)?;
                        open.push((tree, path, at, depth + 1));
                    }
                    0o040_000 => return Err(refused(&at, "directories are nested too deep")),
                    0o100_000 => {
                        let executable = entry.filemode_raw() & 0o100 != 0;
                        let make = |name: &OsStr| dir.create(name, executable);
                        self.write_file(repository, entry.id(), &at, make)?;
                    }
                    0o120_000 => self.remember_link(repository, entry.id(), at)?,
                    0o160_000 => {
                        dir.make(&name).map_err(|e| failed(&at, e))?;
                        links.push(Gitlink { path, at, commit: entry.id() });
                    }
                    _ => return Err(refused(&at, "its kind is not known")),
                }
            }
        }
        Ok(Written { links, modules })
    }

    fn count(&mut self, at: &Path) -> Result<()> {
        self.entries_left = self.entries_left.checked_sub(1).ok_or_else(|| {
            Error::new(ErrorKind::Exhausted, FETCH, "the repository has too many files")
                .with("path", show(at))
                .hint("Fetch a part of it, or raise the limit of files.")
        })?;
        Ok(())
    }

    fn write_file(
        &mut self,
        repository: &Repository,
        id: Oid,
        at: &Path,
        make: impl FnOnce(&OsStr) -> io::Result<std::fs::File>,
    ) -> Result<()> {
        let (size, kind) = header(repository, id, at)?;
        if kind != ObjectType::Blob {
            return Err(refused(at, "it is a file whose content is no file"));
        }
        let size = size as u64;
        self.bytes_left = self.bytes_left.checked_sub(size).ok_or_else(|| {
            Error::new(ErrorKind::Exhausted, FETCH, "the files of the repository are too large")
                .with("path", show(at))
                .hint("Fetch a part of it, or raise the limit of written bytes.")
        })?;
        let blob = object(repository.find_blob(id), at)?;
        let name = at.file_name().unwrap_or_default();
        let written = make(name).and_then(|mut file| file.write_all(blob.content()));
        written.map_err(|e| failed(at, e))?;
        self.files += 1;
        self.pointers += u64::from(is_pointer(blob.content()));
        Ok(())
    }

    fn remember_link(&mut self, repository: &Repository, id: Oid, at: PathBuf) -> Result<()> {
        if header(repository, id, &at)?.0 > LINK_MAX {
            return Err(refused(&at, "it is a link to no path"));
        }
        let blob = object(repository.find_blob(id), &at)?;
        let target = blob.content();
        if target.is_empty() || target.contains(&0) {
            return Err(refused(&at, "it is a link to no path"));
        }
        let special = at.file_name().is_some_and(|n| {
            let name = n.to_string_lossy().to_ascii_lowercase();
            matches!(name.as_str(), ".gitmodules" | ".gitattributes" | ".gitignore")
        });
        if special {
            return Err(refused(&at, "git reads this file, which must not be a link"));
        }
        self.symlinks.push((at, target.to_owned()));
        Ok(())
    }

    /// Makes the links, when everything else of every repository is written.
    pub(crate) fn finish(&mut self, stop: &Stop) -> Result<()> {
        let mut open: Option<(PathBuf, Dir)> = None;
        for (at, target) in std::mem::take(&mut self.symlinks) {
            stop.check(FETCH)?;
            let parent = at.parent().unwrap_or(Path::new(""));
            let dir = match open.take().filter(|(path, _)| path == parent) {
                Some((_, dir)) => dir,
                None => self.root.descend(parent).map_err(|e| failed(&at, e))?,
            };
            let name = at.file_name().unwrap_or_default();
            dir.link(&target, name).map_err(|e| failed(&at, e))?;
            open = Some((parent.to_owned(), dir));
            self.files += 1;
        }
        Ok(())
    }
}

/// The directory of a tree at a path. Since the path is looked up in the tree and not on the disk,
/// no link can lead it elsewhere.
fn find<'a>(repository: &'a Repository, tree: Tree<'a>, subdir: &RelPath) -> Result<Tree<'a>> {
    let mut tree = tree;
    for part in subdir.as_str().split('/').filter(|p| !p.is_empty()) {
        let error = |kind, message| {
            Err(Error::new(kind, FETCH, message).with("directory", subdir).with("at", part))
        };
        let Some(entry) = tree.get_name(part) else {
            return error(ErrorKind::NotFound, "the repository has no such directory");
        };
        match entry.filemode_raw() & 0o170_000 {
            0o040_000 => {}
            0o120_000 => return error(ErrorKind::Invalid, "the directory is a symbolic link"),
            0o160_000 => return error(ErrorKind::Unsupported, "the directory is in a submodule"),
            _ => return error(ErrorKind::Invalid, "the directory is a file"),
        }
        let next = find_tree(repository, entry.id(), Path::new(part))?;
        drop(entry);
        tree = next;
    }
    Ok(tree)
}

/// The size of an object, without reading it, and its kind.
fn header(repository: &Repository, id: Oid, at: &Path) -> Result<(usize, ObjectType)> {
    object(repository.odb().and_then(|odb| odb.read_header(id)), at)
}

/// Refuses an object that would take too much memory.
fn small(repository: &Repository, id: Oid, at: &Path) -> Result<()> {
    if header(repository, id, at)?.0 <= OBJECT_MAX {
        return Ok(());
    }
    let message = format!("a commit or a directory is larger than {OBJECT_MAX} bytes");
    Err(Error::new(ErrorKind::Exhausted, FETCH, message).with("path", show(at)))
}

fn find_tree<'a>(repository: &'a Repository, id: Oid, at: &Path) -> Result<Tree<'a>> {
    small(repository, id, at)?;
    object(repository.find_tree(id), at)
}

fn read_modules(repository: &Repository, tree: &Tree<'_>) -> Result<Option<String>> {
    const NAME: &str = ".gitmodules";
    const SIZE_MAX: usize = 1 << 20;
    let Some(entry) = tree.get_name(NAME) else { return Ok(None) };
    if entry.filemode_raw() & 0o170_000 != 0o100_000 {
        return Ok(None);
    }
    let size = repository.odb().and_then(|odb| odb.read_header(entry.id()));
    if size.is_ok_and(|(size, _)| size > SIZE_MAX) {
        return Err(refused(Path::new(NAME), "it is larger than 1 MiB"));
    }
    let blob = object(repository.find_blob(entry.id()), Path::new(NAME))?;
    Ok(Some(String::from_utf8_lossy(blob.content()).into_owned()))
}

fn checked(name: &[u8], at: &Path) -> Result<OsString> {
    if let Some(problem) = names::problem(name) {
        return Err(refused(&at.join(names::spell(name)), problem));
    }
    if at.as_os_str().len() + name.len() > PATH_MAX {
        return Err(refused(at, "a path in it is longer than 4000 bytes"));
    }
    #[cfg(unix)]
    return Ok(std::os::unix::ffi::OsStringExt::from_vec(name.to_owned()));
    #[cfg(not(unix))]
    {
        let text = std::str::from_utf8(name).ok().filter(|t| !t.contains(['\\', ':']));
        text.map(OsString::from)
            .ok_or_else(|| refused(&at.join(names::spell(name)), "this system cannot have it"))
    }
}

fn object<T>(found: Result<T, git2::Error>, at: &Path) -> Result<T> {
    found.map_err(|e| error::git(FETCH, "reading an object", &e).with("path", show(at)))
}

fn refused(at: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, FETCH, format!("an entry of the repository is refused: {why}"))
        .with("path", show(at))
}

fn failed(at: &Path, e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::AlreadyExists {
        return refused(at, "this file system takes it for the same as another one").hint(
            "The repository has two names that differ in case or in the form of letters only.",
        );
    }
    if is_astray(&e) {
        let message = "somebody else changed the directory while files were written into it";
        return Error::new(ErrorKind::Denied, FETCH, message)
            .with("path", show(at))
            .hint("Do not let a box that runs beside a fetch write to the workspace.");
    }
    error::io(FETCH, "writing a file", e).with("path", show(at))
}

/// A path as a terminal may see it.
pub(crate) fn show(path: &Path) -> String {
    clean(path.as_os_str().as_encoded_bytes())
}

fn is_pointer(content: &[u8]) -> bool {
    content.len() < 1024 && content.starts_with(b"version https://git-lfs.github.com/spec/")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory with a repository in it, and one to write to.
    fn place() -> (tempfile::TempDir, Repository, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path().join("git")).unwrap();
        let root = directory.path().join("tree");
        fs::create_dir(&root).unwrap();
        (directory, repository, root)
    }

    fn tree(repository: &Repository, entries: &[(&str, Oid, i32)]) -> Oid {
        let mut tree = repository.treebuilder(None).unwrap();
        for (name, id, mode) in entries {
            tree.insert(name, *id, *mode).unwrap();
        }
        tree.write().unwrap()
    }

    fn writer(root: &Path) -> Writer {
        Writer::new(Arc::new(Dir::open(root).unwrap()), &GitConfig::default())
    }

    #[test]
    fn links_come_after_everything_else() {
        let (_directory, repository, root) = place();
        let blob = repository.blob(b"target").unwrap();
        let tree = tree(&repository, &[("a", blob, 0o120_000), ("b", blob, 0o100_644)]);
        let mut writer = writer(&root);
        let stop = Stop::default();
        writer.write(&repository, tree, &RelPath::root(), Path::new(""), &stop).unwrap();
        assert!(root.join("b").exists() && fs::symlink_metadata(root.join("a")).is_err());
        writer.finish(&stop).unwrap();
        assert_eq!(fs::read_link(root.join("a")).unwrap(), Path::new("target"));
    }

    #[test]
    fn a_directory_swapped_for_a_link_leads_nowhere() {
        let (directory, repository, root) = place();
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let blob = repository.blob(b"x").unwrap();
        let inner = tree(&repository, &[("f", blob, 0o100_644), ("l", blob, 0o120_000)]);
        let outer = tree(&repository, &[("a", inner, 0o040_000), ("m", blob, 0o160_000)]);
        let (mut writer, stop) = (writer(&root), Stop::default());
        let everything = RelPath::root();
        let written = writer.write(&repository, outer, &everything, Path::new(""), &stop).unwrap();
        for name in ["a", "m"] {
            fs::rename(root.join(name), root.join(format!("{name}-was"))).unwrap();
            std::os::unix::fs::symlink(&outside, root.join(name)).unwrap();
        }
        // What goes on where a submodule lies, and the links at the end.
        let at = &written.links[0].at;
        let e = writer.write(&repository, inner, &everything, at, &stop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied, "{e:?}");
        let e = writer.finish(&stop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied, "{e:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
