//! Secrets and the references to them. Plans and journals hold references only.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The name of a secret: 1 to 128 ASCII letters, digits, `_`, `-`, `.` and `/`, and not the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretRef(Box<str>);

/// Why a text is not the name of a secret. The text is left out: it may be the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "that is not the name of a secret: use 1 to 128 letters, digits and the marks `_`, `-`, `.`, `/`"
)]
pub struct SecretRefError;

impl SecretRef {
    /// Checks and takes a name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, SecretRefError> {
        let name = name.as_ref();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        let sane =
            !name.starts_with(['/', '.']) && !name.split('/').any(|p| p == ".." || p.is_empty());
        if name.is_empty() || name.len() > 128 || !name.chars().all(legal) || !sane {
            return Err(SecretRefError);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretRef {
    type Err = SecretRefError;

    fn from_str(name: &str) -> Result<Self, SecretRefError> {
        Self::new(name)
    }
}

impl TryFrom<String> for SecretRef {
    type Error = SecretRefError;

    fn try_from(name: String) -> Result<Self, SecretRefError> {
        Self::new(name)
    }
}

impl From<SecretRef> for String {
    fn from(name: SecretRef) -> Self {
        name.0.into()
    }
}

/// The value of a secret. It cannot be printed or stored, and its memory is cleared when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes of a secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        let differ = self.0.iter().zip(&other.0).fold(0, |d, (a, b)| d | (a ^ b));
        self.0.len() == other.0.len() && std::hint::black_box(differ) == 0
    }
}

impl Eq for Secret {}

/// A value in a plan: a text, the name of a secret, or a fact about the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Anybody may read it.
    Text(String),
    /// Revealed only to the step that needs it.
    Secret(SecretRef),
    /// Known only when the step begins; the engine then puts a text in its place, and leaves the
    /// variable out where there is no such fact. For variables of commands only.
    Fact(Fact),
}

/// What a step can be told of the build it belongs to, as it is when the step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// `passed` as long as no step has failed that may not and nobody asked to stop, else `failed`.
    Result,
    /// The name of the first step, in the order of the plan, that has failed and may not.
    FailedStep,
    /// What that step said itself, under the name `message`; else what is said of its failure.
    FailedMessage,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// A user name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password, or a token in its place.
    pub password: Secret,
}

impl Credentials {
    /// Reads credentials from a secret: `{"username": …, "password": …}` or `user:password`.
    ///
    /// `None` if it is neither.
    pub fn parse(secret: &Secret) -> Option<Self> {
        #[derive(Deserialize)]
        struct Stored {
            username: String,
            password: String,
        }
        let text = secret.expose_str()?.trim_end_matches(['\r', '\n']);
        if text.starts_with('{') {
            let Stored { username, password } = serde_json::from_str(text).ok()?;
            return Some(Self { username, password: Secret::new(password) });
        }
        let (username, password) = text.split_once(':')?;
        Some(Self { username: username.into(), password: Secret::new(password) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret, Secret::new("hunter2"));
        assert_ne!(secret, Secret::new("hunter3"));
        assert_ne!(secret, Secret::new("hunter"));
        let credentials = Credentials::parse(&Secret::new("bob:a:b\n")).unwrap();
        assert_eq!(credentials.password.expose(), b"a:b");
        assert!(!format!("{credentials:?}").contains("a:b"));
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", "/a", "a b", "a/../b", "..", "a//b", "ü", &"a".repeat(129)] {
            assert!(SecretRef::new(bad).is_err(), "{bad}");
        }
        assert_eq!(SecretRef::new("team/registry.key").unwrap().as_str(), "team/registry.key");
    }

    #[test]
    fn credentials_come_in_two_forms() {
        let json = Secret::new(r#"{"username":"u","password":"p"}"#);
        assert_eq!(Credentials::parse(&json).unwrap().username, "u");
        assert!(Credentials::parse(&Secret::new("token")).is_none());
    }
}
