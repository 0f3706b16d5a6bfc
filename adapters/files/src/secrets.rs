//! Secrets: one file a secret, readable by its user alone.

use crate::error::translate;
use async_trait::async_trait;
use kiln::{Error, ErrorKind, Owner, Result, Secret, SecretRef, port::Secrets};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

/// Secrets of the local owner, each in a file of its own.
#[derive(Clone, Debug, Default)]
pub struct FileSecrets {
    files: BTreeMap<SecretRef, PathBuf>,
}

impl FileSecrets {
    /// No secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says in which file a secret is.
    #[must_use]
    pub fn with(mut self, name: SecretRef, file: PathBuf) -> Self {
        self.files.insert(name, file);
        self
    }
}

#[async_trait]
impl Secrets for FileSecrets {
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret> {
        const OP: &str = "Secrets::reveal";
        let file =
            self.files.get(secret).filter(|_| *owner == Owner::local()).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, OP, "there is no such secret")
                    .with("secret", secret)
            })?;
        let wrong = |e| translate(OP, file, e);
        let mode = fs::metadata(file).map_err(wrong)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(ErrorKind::Denied, OP, "others may read the file of a secret")
                .with("file", file.display())
                .hint("Take their rights away with `chmod 600`."));
        }
        Ok(Secret::new(fs::read(file).map_err(wrong)?))
    }
}
