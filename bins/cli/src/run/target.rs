//! What a pipeline is of: a directory, or something elsewhere.

use super::wrong;
use crate::args::RunArgs;
use kiln::{Result, SourceSpec};
use std::path::{Path, PathBuf};

/// What a pipeline is of.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A directory of this machine.
    Directory(PathBuf),
    /// Whoever runs the pipeline fetches it.
    Source(SourceSpec),
}

impl Target {
    /// Reads what was named.
    pub(crate) fn of(args: &RunArgs) -> Result<Self> {
        let text = &args.target;
        let is_dir = Path::new(text).is_dir();
        if kiln_archive::is_archive(text) && !is_dir {
            return Ok(Self::Source(SourceSpec::new(text)));
        }
        if kiln_git::url::is_git_url(text) && !is_dir {
            kiln_git::url::parse(text).map_err(|e| wrong(e.to_string()))?;
            return Ok(Self::Source(SourceSpec::new(text)));
        }
        // Links are gone through, so that one directory has one name.
        let path = Path::new(text).canonicalize().map_err(|e| {
            let error = wrong(format!("there is no directory `{text}`")).source(e);
            match text.contains("://") {
                true => error.hint(
                    "The address of a repository ends with .git or has a #reference, that of an \
                     archive ends with .tar, .tar.gz or .tar.zst.",
                ),
                false => error,
            }
        })?;
        match path.is_dir() {
            true => Ok(Self::Directory(path)),
            false => Err(wrong(format!("`{text}` is not a directory"))
                .hint("Name the directory, and the file with --file.")),
        }
    }

    /// The directory of this machine, if it is one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Source(_) => None,
        }
    }

    /// What is run, for lists.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Source(source) => source.url.clone(),
        }
    }

    /// The last part of its name.
    pub(crate) fn name(&self) -> Option<String> {
        let what = self.what();
        let what = what.split(['#', '?']).next().unwrap_or_default();
        let last = what.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let last = [".git", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar"]
            .iter()
            .find_map(|end| last.strip_suffix(end))
            .unwrap_or(last);
        Some(last.to_owned()).filter(|last| !last.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Target> {
        Target::of(&RunArgs { target: text.into(), ..RunArgs::default() })
    }

    #[test]
    fn a_target_is_a_directory_a_repository_or_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        let here = of(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(here.directory(), Some(dir.path().canonicalize().unwrap().as_path()));
        for (text, name) in [
            ("https://example.com/a/app.git#v1", "app"),
            ("git@example.com:a/app.git", "app"),
            ("https://example.com/x/app.tar.gz?sig=1", "app"),
        ] {
            let there = of(text).unwrap();
            assert!(there.directory().is_none(), "{text}");
            assert_eq!(there.name().as_deref(), Some(name));
        }
        let file = dir.path().join("f");
        std::fs::write(&file, "").unwrap();
        for bad in [file.to_str().unwrap(), "/nonexistent", "https://example.com/app"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
