//! Who asks: an access key with its secret. Nothing here reads the environment by itself.

use kiln::{Error, ErrorKind, Result, Secret};
use std::{fmt, fs::File, io::Read, path::Path};

/// How large a file of credentials may be, in bytes.
const FILE_MAX: u64 = 64 * 1024;
const HINT: &str = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file that has them.";

/// An access key. It cannot be printed.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) key: Secret,
    pub(crate) secret: Secret,
    pub(crate) token: Option<Secret>,
}

impl Credentials {
    /// An access key with its secret.
    pub fn new(key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { key: Secret::new(key.into()), secret: Secret::new(secret.into()), token: None }
    }

    /// The same for a session, which has a token too and ends some time.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::new(token.into()));
        self
    }

    /// Takes what AWS's own tools take from the environment, by a function that looks variables
    /// up: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    ///
    /// `Invalid` if one of the first two is missing.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        Self::of(
            var("AWS_ACCESS_KEY_ID"),
            var("AWS_SECRET_ACCESS_KEY"),
            var("AWS_SESSION_TOKEN"),
            || Error::new(ErrorKind::Invalid, "Credentials::from_vars", "there is no access key"),
        )
    }

    /// Reads a profile of a file as AWS's own tools write it: a line `[profile]` and below it
    /// `aws_access_key_id = …`, `aws_secret_access_key = …` and perhaps `aws_session_token = …`.
    ///
    /// `Denied` if the file may be read by others, `Invalid` if the profile or a key is missing.
    pub fn from_file(path: &Path, profile: &str) -> Result<Self> {
        const OP: &str = "Credentials::from_file";
        let fail = |kind, message: &str| {
            Error::new(kind, OP, message).with("path", path.display()).with("profile", profile)
        };
        let unread =
            |e: std::io::Error| fail(ErrorKind::Denied, "the credentials cannot be read").source(e);
        let file = File::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                fail(ErrorKind::NotFound, "there is no file of credentials").hint(HINT)
            }
            _ => unread(e),
        })?;
        private(&file).map_err(unread)?.then_some(()).ok_or_else(|| {
            fail(ErrorKind::Denied, "others may read the file of credentials")
                .hint("Give it mode 0600.")
        })?;
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(unread)?;
        let mut found = [None, None, None];
        let mut inside = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = name.trim() == profile;
            } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
                let place = match name.trim() {
                    "aws_access_key_id" => 0,
                    "aws_secret_access_key" => 1,
                    "aws_session_token" => 2,
                    _ => continue,
                };
                found[place] = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            }
        }
        let [key, secret, token] = found;
        Self::of(key, secret, token, || {
            fail(ErrorKind::Invalid, "the profile has no access key with its secret")
        })
    }

    fn of(
        key: Option<String>,
        secret: Option<String>,
        token: Option<String>,
        missing: impl FnOnce() -> Error,
    ) -> Result<Self> {
        let (Some(key), Some(secret)) = (key, secret) else { return Err(missing().hint(HINT)) };
        let credentials = Self::new(key, secret);
        Ok(match token {
            Some(token) => credentials.with_token(token),
            None => credentials,
        })
    }
}

/// Whether only its owner may read a file.
fn private(file: &File) -> std::io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(file.metadata()?.mode() & 0o077 == 0)
    }
    #[cfg(not(unix))]
    file.metadata().map(|_| true)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(names: &'static [(&str, &str)]) -> Result<Credentials> {
        Credentials::from_vars(|name| {
            names.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_taken_whole_or_not_at_all() {
        let all = vars(&[
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_SESSION_TOKEN", "t0ken"),
        ])
        .unwrap();
        assert_eq!(all.secret.expose(), b"s3cret");
        assert_eq!(all.token.as_ref().map(Secret::expose), Some(&b"t0ken"[..]));
        assert_eq!(format!("{all:?}"), "Credentials(***)");
        for half in [&[("AWS_ACCESS_KEY_ID", "AKIA")][..], &[("AWS_SECRET_ACCESS_KEY", "s3cret")]] {
            let e = vars(half).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(!format!("{e:?}").contains("s3cret"), "{e:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_profiles_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let text = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=x=y\n\n\
                    [half]\naws_access_key_id = B\n";
        std::fs::write(&path, text).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o644);
        let e = Credentials::from_file(&path, "default").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied);
        mode(0o600);
        let read = Credentials::from_file(&path, "default").unwrap();
        assert_eq!((read.key.expose(), read.secret.expose()), (&b"A"[..], &b"x=y"[..]));
        for profile in ["half", "none"] {
            let e = Credentials::from_file(&path, profile).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
        }
        let e = Credentials::from_file(&dir.path().join("no"), "default").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound);
    }
}
