//! Where things are kept.

use super::read::invalid;
use kiln::{Result, Secret};
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// A URL that may hold a password, which is shown to nobody.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Place(Secret);

/// What a place may begin with.
const SCHEMES: [&str; 7] =
    ["sqlite:", "files:", "postgres://", "postgresql://", "redis://", "rediss://", "s3://"];

impl Place {
    /// The default: a file of the data directory.
    pub(crate) fn sqlite() -> Self {
        Self::of("sqlite:")
    }

    /// A place that is known to be one.
    pub(super) fn of(url: &str) -> Self {
        Self(Secret::new(url))
    }

    /// The URL with its password.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_str().unwrap_or_default()
    }

    /// What it begins with, without the colon.
    pub(crate) fn scheme(&self) -> &str {
        self.expose().split(':').next().unwrap_or_default()
    }

    /// What is behind the scheme, for those that are paths; none if nothing is.
    pub(crate) fn path(&self) -> Option<&Path> {
        let (_, path) = self.expose().split_once(':')?;
        let path = path.strip_prefix("//").unwrap_or(path);
        (!path.is_empty()).then(|| Path::new(path))
    }

    /// A parameter, as it is written behind `?`.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.expose().split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Whether every server that names it means the same one.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self.scheme(), "sqlite" | "files")
    }

    /// The URL without what is secret: the password, and all that may stand behind `?`.
    fn shown(&self) -> String {
        let url = self.expose();
        let (base, query) = url.split_once('?').map_or((url, None), |(b, q)| (b, Some(q)));
        let base = match base.split_once("://") {
            Some((scheme, rest)) => match rest.rsplit_once('@') {
                Some((user, host)) => {
                    let user =
                        user.split_once(':').map_or(user.to_owned(), |(u, _)| format!("{u}:***"));
                    format!("{scheme}://{user}@{host}")
                }
                None => base.to_owned(),
            },
            None => base.to_owned(),
        };
        let pairs = query.map(|query| {
            let pair = |pair: &str| match pair.split_once('=') {
                Some((k, _)) if is_secret(k) => format!("{k}=***"),
                _ => pair.to_owned(),
            };
            query.split('&').map(pair).collect::<Vec<_>>().join("&")
        });
        pairs.map_or(base.clone(), |pairs| format!("{base}?{pairs}"))
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["pass", "secret", "token", "key"].iter().any(|word| key.contains(word))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        if SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            return Ok(Self::of(&url));
        }
        // Not the URL: whatever it is, it may hold a password.
        Err(format!("expected a URL that begins with one of {}", SCHEMES.join(", ")))
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.shown()
    }
}

macro_rules! place {
    ($(#[$doc:meta])* $name:ident, $schemes:literal, [$($scheme:literal),*]
     $(, $(#[$field_doc:meta])* $field:ident: $type:ty)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) url: Option<Place>,
            /// A file with the URL, for a password that is to be in no setting.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) url_file: Option<PathBuf>,
            $($(#[$field_doc])* pub(crate) $field: $type,)?
        }

        impl $name {
            /// Where it is kept, if that was said.
            pub(crate) fn place(&self) -> Result<Option<Place>> {
                let place = match (&self.url_file, &self.url) {
                    (Some(file), _) => Some(read(file)?),
                    (None, url) => url.clone(),
                };
                match &place {
                    Some(p) if ![$($scheme),*].contains(&p.scheme()) => {
                        let what = concat!("expected a URL of ", $schemes);
                        Err(invalid(what).with("url", p))
                    }
                    _ => Ok(place),
                }
            }
        }
    };
}

place! {
    /// Journals, the index, and what is known of nodes.
    Store, "sqlite:, postgres:// or redis://",
    ["sqlite", "postgres", "postgresql", "redis", "rediss"]
}
place! {
    /// Builds that wait for a driver; with the store where nothing is said.
    Queue, "sqlite:, postgres:// or redis://",
    ["sqlite", "postgres", "postgresql", "redis", "rediss"]
}
place! {
    /// Logs; files, or with a shared store, where nothing is said.
    Logs, "files:, postgres:// or redis://",
    ["files", "postgres", "postgresql", "redis", "rediss"],
    /// Whether the log of a build that is over moves to where artifacts are.
    archive: bool
}
place! {
    /// Files of builds; in the data directory where nothing is said.
    Artifacts, "files: or s3://", ["files", "s3"],
    /// The access key of S3, in a file of AWS's own form; from `AWS_…` variables without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<PathBuf>
}

fn read(file: &Path) -> Result<Place> {
    let text = fs::read_to_string(file)
        .map_err(|e| invalid("a URL cannot be read").with("file", file.display()).source(e))?;
    Place::try_from(text.trim().to_owned()).map_err(|e| invalid(e).with("file", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        for (url, shown) in [
            (
                "postgres://ann:p@ss@db:5/k?sslmode=require",
                "postgres://ann:***@db:5/k?sslmode=require",
            ),
            ("redis://:pw@r/0", "redis://:***@r/0"),
            (
                "s3://b/p?endpoint=http://x&secret_access_key=q",
                "s3://b/p?endpoint=http://x&secret_access_key=***",
            ),
            ("postgres://db/k?password=q", "postgres://db/k?password=***"),
            ("sqlite:/a/b", "sqlite:/a/b"),
        ] {
            assert_eq!(Place::of(url).to_string(), shown);
        }
    }

    #[test]
    fn a_path_is_what_is_behind_the_scheme() {
        for (url, path) in
            [("files:", None), ("files:/a", Some("/a")), ("sqlite:///a/b", Some("/a/b"))]
        {
            assert_eq!(Place::of(url).path(), path.map(Path::new));
        }
    }
}
