//! A relative path that stays below its root, whatever the platform and whoever wrote it.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A relative path with `/` between its parts and no part that leads up or out.
///
/// `a//b/./c` is taken as `a/b/c`; the empty path and `.` name the root itself. This type promises
/// nothing about symbolic links: whoever opens the path has to refuse to follow them out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

/// Why a text is not a [`RelPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path below the root: {problem}")]
pub struct RelPathError {
    text: String,
    problem: &'static str,
}

impl RelPath {
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks and takes a text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, RelPathError> {
        let text = text.as_ref();
        let fail = |problem| Err(RelPathError { text: text.into(), problem });
        if text.starts_with('/') {
            return fail("it is absolute");
        }
        if text.len() > 4096 {
            return fail("it is longer than 4096 bytes");
        }
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return fail("it has a part `..`"),
                _ if part.contains('\0') => return fail("it has a NUL byte"),
                _ => parts.push(part),
            }
        }
        // Asked of the result: `./C:/a` is no less absolute on Windows than `C:/a`.
        let path = parts.join("/");
        if path.starts_with('\\') || path.as_bytes().get(1) == Some(&b':') {
            return fail("it is absolute");
        }
        Ok(Self(path))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path below a directory.
    pub fn below(&self, directory: &Path) -> PathBuf {
        if self.is_root() { directory.into() } else { directory.join(&self.0) }
    }

    /// This path with another below it.
    pub fn join(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, other.0)),
        }
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_root() { "." } else { &self.0 })
    }
}

impl FromStr for RelPath {
    type Err = RelPathError;

    fn from_str(text: &str) -> Result<Self, RelPathError> {
        Self::new(text)
    }
}

impl TryFrom<String> for RelPath {
    type Error = RelPathError;

    fn try_from(text: String) -> Result<Self, RelPathError> {
        Self::new(text)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_leads_out() {
        for bad in ["/a", "..", "a/../b", "a/..", "\\a", "C:/x", "c:x", "./C:/x", ".//\\a", "a\0b"]
        {
            assert!(RelPath::new(bad).is_err(), "{bad}");
        }
        for (text, clean) in [("", ""), (".", ""), ("./a//b/.", "a/b"), ("..a/b..", "..a/b..")] {
            assert_eq!(RelPath::new(text).unwrap().as_str(), clean);
        }
    }

    #[test]
    fn joining_keeps_the_root_out() {
        let p = |t| RelPath::new(t).unwrap();
        assert_eq!(p("a").join(&p("b")), p("a/b"));
        assert_eq!(p("").join(&p("b")), p("b"));
        assert_eq!(p("a").join(&p("")), p("a"));
        assert_eq!(p("").below(Path::new("/w")), Path::new("/w"));
        assert_eq!(p("a/b").below(Path::new("/w")), Path::new("/w/a/b"));
    }
}
