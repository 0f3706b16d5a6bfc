//! Writing a first `wercker.yml`: `detect`.

use super::wrong_in;
use crate::{
    args::{DetectArgs, Exit},
    print,
};
use kiln::{Error, ErrorKind, Result};
use kiln_wercker::file::{self, FILE_NAMES};
use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

const OP: &str = "kiln detect";
/// The name of the file that is written.
const NAME: &str = "wercker.yml";

pub(crate) fn detect(args: &DetectArgs) -> Result<Exit> {
    fs::read_dir(&args.dir).map_err(|e| {
        wrong_in(OP, "the directory cannot be read").with("directory", args.dir.display()).source(e)
    })?;
    let text = file::detect(|name| args.dir.join(name).exists());
    if args.print && !args.json {
        print::raw(text.as_bytes());
        return Ok(Exit::Fine);
    }
    let there = FILE_NAMES.iter().map(|name| args.dir.join(name)).find(|path| path.exists());
    let path = match there {
        Some(path) if !args.force && !args.print => {
            return Err(Error::new(ErrorKind::Conflict, OP, "there is a file already")
                .with("file", path.display())
                .hint("`kiln check` looks at it, and --force replaces it."));
        }
        Some(path) => path,
        None => args.dir.join(NAME),
    };
    if !args.print {
        write(&path, &text, args.force)?;
    }
    if args.json {
        print::json("detected", serde_json::json!({ "file": path, "text": text }));
    } else {
        print::note(format!("wrote {}; `kiln run` runs it", path.display()));
    }
    Ok(Exit::Fine)
}

/// Writes a file, which is there whole or not at all, and in no other's place unless that is asked.
fn write(path: &PathBuf, text: &str, force: bool) -> Result<()> {
    let failed = |e: io::Error| {
        let kind = match e.kind() {
            io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            io::ErrorKind::StorageFull => ErrorKind::Exhausted,
            _ => ErrorKind::Unexpected,
        };
        Error::new(kind, OP, "the file cannot be written").with("file", path.display()).source(e)
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut builder = tempfile::Builder::new();
    let mut part: NamedTempFile =
        builder.permissions(permissions).tempfile_in(dir).map_err(failed)?;
    part.write_all(text.as_bytes()).map_err(failed)?;
    let put = if force { part.persist(path) } else { part.persist_noclobber(path) };
    put.map(drop).map_err(|e| failed(e.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_and_replaced_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("go.mod"), "").unwrap();
        let args = |force| DetectArgs { dir: dir.path().into(), force, ..DetectArgs::default() };
        let path = dir.path().join(NAME);
        assert_eq!(detect(&args(false)).unwrap(), Exit::Fine);
        let first = fs::read_to_string(&path).unwrap();
        let parsed = file::File::parse(NAME, first.as_bytes());
        assert!(parsed.diagnostics.is_empty() && first.contains("go "), "{first} {parsed:?}");
        fs::write(&path, "mine").unwrap();
        assert_eq!(detect(&args(false)).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(detect(&args(true)).unwrap(), Exit::Fine);
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert!(write(&path, "other", false).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let e = detect(&DetectArgs { dir: "/nonexistent".into(), ..DetectArgs::default() });
        assert!(e.unwrap_err().to_string().contains("/nonexistent"));
    }
}
