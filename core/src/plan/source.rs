//! Where source code comes from, and which state of it.

use crate::{RelPath, secret::SecretRef};
use serde::{Deserialize, Serialize};

/// Where source code comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// A URL, an scp-like address or a path; its form picks the adapter. Never with a password.
    pub url: String,
    /// A branch, tag or commit; the default branch without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The only part of the source that is wanted.
    #[serde(default, skip_serializing_if = "RelPath::is_root")]
    pub subdir: RelPath,
    /// Credentials, where needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
    /// Whether the modules inside the source are fetched too.
    #[serde(default)]
    pub submodules: bool,
}

impl SourceSpec {
    /// The default branch of a source, with nothing else asked for.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            reference: None,
            subdir: RelPath::root(),
            credentials: None,
            submodules: false,
        }
    }

    /// Asks for a branch, a tag or a commit.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }
}

/// An exact state of a source, such as a commit id, that never moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The exact name, such as a commit id.
    pub id: String,
    /// The moving name it was resolved from, such as `refs/heads/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}
