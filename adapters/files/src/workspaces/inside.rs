//! Opens a file of a workspace that somebody may be changing.

use crate::{dir::Dir, error::translate};
use kiln::{Error, ErrorKind, RelPath, Result};
use rustix::{fs::FileType, io::Errno};
use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    path::Path,
};

/// How many links one path may lead through, as in Linux.
const LINKS_MAX: usize = 40;
/// How many directories are held open at most: links can make a path long.
const DEPTH_MAX: usize = 256;

/// Opens a regular file below a root and tells its size. Links are followed by hand and only below the root: every
/// directory on the way is held open, and `..` goes back to the one that is held, so that nothing
/// that is moved or swapped meanwhile leads out.
pub(super) fn open(op: &'static str, root: &Path, path: &RelPath) -> Result<(File, u64)> {
    let absent = || Error::new(ErrorKind::NotFound, op, "there is no such file").with("path", path);
    // What was seen is something else by now, or was no directory in the first place.
    let wrong = |e: io::Error| match Errno::from_io_error(&e) {
        Some(Errno::LOOP) => outward(op, path),
        Some(Errno::NOTDIR | Errno::NXIO | Errno::INVAL) => absent(),
        _ => translate(op, &path.below(root), e),
    };
    let mut way = vec![Dir::open(root).map_err(wrong)?];
    let mut left = parts(path.as_str().as_bytes());
    let mut links = 0;
    while let Some(part) = left.pop() {
        let Some(dir) = way.last() else { return Err(outward(op, path)) };
        if part.as_c_str() == c".." {
            way.pop();
            continue;
        }
        match dir.kind(&part).map_err(wrong)? {
            FileType::Symlink => {
                links += 1;
                let to = dir.link(&part).map_err(wrong)?;
                if links > LINKS_MAX || to.to_bytes().starts_with(b"/") {
                    return Err(outward(op, path));
                }
                left.extend(parts(to.to_bytes()));
            }
            FileType::Directory if way.len() < DEPTH_MAX => {
                let next = dir.sub(&part).map_err(wrong)?;
                way.push(next);
            }
            FileType::RegularFile if left.is_empty() => {
                return regular(dir, &part).map_err(wrong)?.ok_or_else(absent);
            }
            _ => return Err(absent()),
        }
    }
    Err(if way.is_empty() { outward(op, path) } else { absent() })
}

/// The file of a name if it is a regular one: asked of the open file, since the name may stand
/// for a pipe or a device by now.
fn regular(dir: &Dir, name: &CStr) -> io::Result<Option<(File, u64)>> {
    let file = dir.read(name)?;
    let meta = file.metadata()?;
    Ok(meta.is_file().then_some((file, meta.len())))
}

/// The parts of a path, the first one last.
fn parts(path: &[u8]) -> Vec<CString> {
    let parts = path.split(|b| *b == b'/').filter(|part| !matches!(part, [] | [b'.']));
    parts.rev().filter_map(|part| CString::new(part).ok()).collect()
}

fn outward(op: &'static str, path: &RelPath) -> Error {
    Error::new(ErrorKind::Denied, op, "the path leads out of the workspace by a link")
        .with("path", path)
}
