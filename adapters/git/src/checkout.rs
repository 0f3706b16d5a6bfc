//! Writing a tree into a directory that is new and ours.
//!
//! Not libgit2's checkout: that one knows filters, attributes, and repositories that were there
//! before; cannot be stopped; and follows links. Here every directory and file is made anew and
//! must not exist, which finds names that are one on this file system; and links come last, so
//! that nothing is ever written through one.

use crate::{
    GitConfig,
    error::{self, FETCH},
    names,
    text::clean,
    work::Stop,
};
use git2::{ObjectType, Oid, Repository, Tree};
use kiln::{Error, ErrorKind, RelPath, Result};
use std::{
    ffi::OsString,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

/// How deep directories may be nested.
const DEPTH_MAX: usize = 200;
/// How long the target of a link may be: what Linux allows.
const LINK_MAX: usize = 4095;

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
    root: PathBuf,
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
    pub(crate) fn new(root: PathBuf, config: &GitConfig) -> Self {
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
        let tree = repository
            .find_object(id, None)
            .and_then(|object| object.peel_to_tree())
            .map_err(|e| error::git(FETCH, "reading the commit", &e).with("commit", id))?;
        let modules = read_modules(repository, &tree)?;
        let start = find(repository, tree, subdir)?;
        let mut links = Vec::new();
        let mut open = vec![(start, PathBuf::from(subdir.as_str()), at.to_owned(), 0)];
        while let Some((tree, path, at, depth)) = open.pop() {
            for entry in &tree {
                stop.check(FETCH)?;
                let name = checked(entry.name_bytes(), &at)?;
                let (path, at) = (path.join(&name), at.join(&name));
                self.count(&at)?;
                match entry.filemode_raw() & 0o170_000 {
                    0o040_000 if depth < DEPTH_MAX => {
                        self.make_directory(&at)?;
                        let tree = object(repository.find_tree(entry.id()), &at)?;
                        open.push((tree, path, at, depth + 1));
                    }
                    0o100_000 => {
                        let executable = entry.filemode_raw() & 0o100 != 0;
                        self.write_file(repository, entry.id(), &at, executable)?;
                    }
                    0o120_000 => self.remember_link(repository, entry.id(), at)?,
                    0o160_000 => {
                        self.make_directory(&at)?;
                        links.push(Gitlink { path, at, commit: entry.id() });
                    }
                    _ => return Err(refused(&at, "its kind is not known or it is too deep")),
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

    fn make_directory(&self, at: &Path) -> Result<()> {
        fs::create_dir(self.root.join(at)).map_err(|e| failed(at, e))
    }

    fn write_file(
        &mut self,
        repository: &Repository,
        id: Oid,
        at: &Path,
        executable: bool,
    ) -> Result<()> {
        let size = match repository.odb().and_then(|odb| odb.read_header(id)) {
            Ok((size, ObjectType::Blob)) => size as u64,
            Ok(_) => return Err(refused(at, "it is a file whose content is no file")),
            Err(e) => return Err(error::git(FETCH, "reading a file", &e).with("path", show(at))),
        };
        self.bytes_left = self.bytes_left.checked_sub(size).ok_or_else(|| {
            Error::new(ErrorKind::Exhausted, FETCH, "the files of the repository are too large")
                .with("path", show(at))
                .hint("Fetch a part of it, or raise the limit of written bytes.")
        })?;
        let blob = object(repository.find_blob(id), at)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(
            &mut options,
            if executable { 0o777 } else { 0o666 },
        );
        #[cfg(not(unix))]
        let _ = executable;
        let written =
            options.open(self.root.join(at)).and_then(|mut file| file.write_all(blob.content()));
        written.map_err(|e| failed(at, e))?;
        self.files += 1;
        self.pointers += u64::from(is_pointer(blob.content()));
        Ok(())
    }

    fn remember_link(&mut self, repository: &Repository, id: Oid, at: PathBuf) -> Result<()> {
        let blob = object(repository.find_blob(id), &at)?;
        let target = blob.content();
        if target.is_empty() || target.len() > LINK_MAX || target.contains(&0) {
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
        for (at, target) in std::mem::take(&mut self.symlinks) {
            stop.check(FETCH)?;
            symlink(&target, &self.root.join(&at)).map_err(|e| failed(&at, e))?;
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
        let next = object(repository.find_tree(entry.id()), Path::new(part))?;
        drop(entry);
        tree = next;
    }
    Ok(tree)
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
        return Err(refused(&at.join(clean(name)), problem));
    }
    #[cfg(unix)]
    return Ok(std::os::unix::ffi::OsStringExt::from_vec(name.to_owned()));
    #[cfg(not(unix))]
    {
        let text = std::str::from_utf8(name).ok().filter(|t| !t.contains(['\\', ':']));
        text.map(OsString::from)
            .ok_or_else(|| refused(&at.join(clean(name)), "this system cannot have it"))
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
    error::io(FETCH, "writing a file", e).with("path", show(at))
}

fn show(path: &Path) -> String {
    clean(path.as_os_str().as_encoded_bytes())
}

fn is_pointer(content: &[u8]) -> bool {
    content.len() < 1024 && content.starts_with(b"version https://git-lfs.github.com/spec/")
}

#[cfg(unix)]
fn symlink(target: &[u8], at: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), at)
}

/// As git does where links need rights: a file that holds the target.
#[cfg(not(unix))]
fn symlink(target: &[u8], at: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).open(at)?.write_all(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_come_after_everything_else() {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path().join("git")).unwrap();
        let blob = repository.blob(b"target").unwrap();
        let mut tree = repository.treebuilder(None).unwrap();
        tree.insert("a", blob, 0o120_000).unwrap();
        tree.insert("b", blob, 0o100_644).unwrap();
        let tree = tree.write().unwrap();
        let root = directory.path().join("tree");
        fs::create_dir(&root).unwrap();
        let mut writer = Writer::new(root.clone(), &GitConfig::default());
        let stop = Stop::default();
        writer.write(&repository, tree, &RelPath::root(), Path::new(""), &stop).unwrap();
        assert!(root.join("b").exists() && fs::symlink_metadata(root.join("a")).is_err());
        writer.finish(&stop).unwrap();
        assert_eq!(fs::read_link(root.join("a")).unwrap(), Path::new("target"));
    }
}
