//! Files of a workspace. Nobody works in it while its plan is made, but what is in it was written
//! by strangers: no link leads out of it unnoticed, and nothing is read without a bound.

use kiln::{Error, ErrorKind, RelPath, Result};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

const OP: &str = "Planner::plan";

/// Where something of a directory really is; `None` if it is not there.
///
/// `Denied` if a link leads out of the directory.
pub(super) fn inside(directory: &Path, path: &RelPath) -> Result<Option<PathBuf>> {
    let root = directory.canonicalize().map_err(|e| failed(directory, &e))?;
    let full = path.below(&root);
    match full.canonicalize() {
        Ok(real) if real.starts_with(&root) => Ok(Some(real)),
        Ok(_) => {
            Err(Error::new(ErrorKind::Denied, OP, "a link leads out of the source")
                .with("path", path))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(e) => Err(failed(&full, &e)),
    }
}

/// Reads a file of a directory; `None` if there is none of that name.
pub(super) fn read(directory: &Path, path: &RelPath, bytes_max: u64) -> Result<Option<Vec<u8>>> {
    let Some(real) = inside(directory, path)? else { return Ok(None) };
    let meta = real.metadata().map_err(|e| failed(&real, &e))?;
    let no = |message: String| Err(Error::new(ErrorKind::Invalid, OP, message).with("path", path));
    // Asked before it is opened: to open a pipe is to wait for somebody to write.
    if !meta.is_file() {
        return no("that is no file".into());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(&real).map_err(|e| failed(&real, &e))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|e| failed(&real, &e))?;
    if bytes.len() as u64 > bytes_max {
        return no(format!("the file is longer than {bytes_max} bytes"));
    }
    Ok(Some(bytes))
}

/// The beginning of a file of a directory; `None` if there is none of that name.
pub(super) fn head(directory: &Path, path: &RelPath) -> Result<Option<Vec<u8>>> {
    let Some(real) = inside(directory, path)? else { return Ok(None) };
    if !real.metadata().map_err(|e| failed(&real, &e))?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(&real).map_err(|e| failed(&real, &e))?;
    file.take(512).read_to_end(&mut bytes).map_err(|e| failed(&real, &e))?;
    Ok(Some(bytes))
}

/// Makes a directory with nothing in it, whatever was there.
pub(super) fn fresh(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).map_err(|e| failed(path, &e))?,
        Ok(_) => fs::remove_file(path).map_err(|e| failed(path, &e))?,
        Err(_) => {}
    }
    fs::create_dir(path).map_err(|e| failed(path, &e))?;
    open_to(path, 0o755)
}

/// Says who may use a file or directory that a box sees, in which anybody may be its user.
pub(super) fn open_to(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| failed(path, &e))
}

/// Writes a file into a directory that was made just before.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| failed(path, &e))?;
    open_to(path, 0o755)
}

/// A directory, or the only one in it where nothing else is: archives often have one.
pub(super) fn only_directory(path: &Path) -> Result<Option<String>> {
    let mut entries = fs::read_dir(path).map_err(|e| failed(path, &e))?;
    let (Some(Ok(entry)), None) = (entries.next(), entries.next()) else { return Ok(None) };
    let is_dir = entry.file_type().map_err(|e| failed(path, &e))?.is_dir();
    Ok(entry.file_name().to_str().filter(|_| is_dir).map(str::to_owned))
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, OP, error.to_string()).with("path", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn no_link_leads_out() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, outside) = (root.path(), outside.path());
        fs::write(outside.join("f"), "theirs").unwrap();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "ours").unwrap();
        symlink(outside.join("f"), root.join("out")).unwrap();
        symlink(outside, root.join("dir")).unwrap();
        symlink("d/f", root.join("in")).unwrap();
        for out in ["out", "dir/f"] {
            assert_eq!(read(root, &path(out), 9).unwrap_err().kind(), ErrorKind::Denied, "{out}");
            assert!(head(root, &path(out)).is_err(), "{out}");
        }
        assert_eq!(read(root, &path("in"), 9).unwrap().unwrap(), b"ours");
        assert_eq!(read(root, &path("none"), 9).unwrap(), None);
        assert_eq!(read(root, &path("d/f/x"), 9).unwrap(), None);
        assert_eq!(read(root, &path("in"), 3).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(read(root, &path("d"), 9).unwrap_err().kind(), ErrorKind::Invalid);
        fresh(&root.join("dir")).unwrap();
        assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "theirs");
    }

    #[test]
    fn an_archive_may_have_one_directory() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(only_directory(root).unwrap(), None);
        fs::create_dir(root.join("output")).unwrap();
        assert_eq!(only_directory(root).unwrap().as_deref(), Some("output"));
        fs::write(root.join("f"), "").unwrap();
        assert_eq!(only_directory(root).unwrap(), None);
    }
}
