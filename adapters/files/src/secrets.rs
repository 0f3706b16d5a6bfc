//! Secrets: one file a secret, readable by its user alone.

use crate::{blocking::blocking, error::translate};
use async_trait::async_trait;
use kiln::{Error, ErrorKind, Owner, Result, Secret, SecretRef, port::Secrets};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Read,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// No secret is longer, so that a wrong file does not fill the memory.
const BYTES_MAX: u64 = 1 << 20;

/// Secrets of one owner, each in a file of its own.
#[derive(Clone, Debug)]
pub struct FileSecrets {
    owner: Owner,
    files: BTreeMap<SecretRef, PathBuf>,
}

impl Default for FileSecrets {
    fn default() -> Self {
        Self::new()
    }
}

impl FileSecrets {
    /// No secrets, of the local owner.
    pub fn new() -> Self {
        Self::of(Owner::local())
    }

    /// No secrets, of an owner. Nobody else will get any.
    pub fn of(owner: Owner) -> Self {
        Self { owner, files: BTreeMap::new() }
    }

    /// Says in which file a secret is. The file holds at most 1 MiB, and nobody but its user may
    /// read or write it.
    #[must_use]
    pub fn with(mut self, name: SecretRef, file: PathBuf) -> Self {
        self.files.insert(name, file);
        self
    }
}

#[async_trait]
impl Secrets for FileSecrets {
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret> {
        let file = self.files.get(secret).filter(|_| *owner == self.owner).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OP, "there is no such secret").with("secret", secret)
        })?;
        let file = file.clone();
        blocking(OP, move || read(&file)).await
    }
}

/// Secrets of every owner: a directory with a file `OWNER/NAME` for each, under the rules of
/// [`FileSecrets`]. What is put there later is found at once.
#[derive(Clone, Debug)]
pub struct SecretsDir {
    path: PathBuf,
}

impl SecretsDir {
    /// The secrets below a directory, which need not be there yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl Secrets for SecretsDir {
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret> {
        // Neither can leave the directory: no part of theirs is empty or begins with a dot.
        let file = self.path.join(owner.as_str()).join(secret.as_str());
        let secret = secret.clone();
        blocking(OP, move || match read(&file) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::NotFound, OP, "there is no such secret")
                    .with("secret", &secret))
            }
            read => read,
        })
        .await
    }
}

const OP: &str = "Secrets::reveal";

/// Reads the file of a secret. It is judged once it is open, so that it is what was judged.
fn read(path: &Path) -> Result<Secret> {
    let wrong = |e| translate(OP, path, e);
    let refuse = |kind, why| Error::new(kind, OP, why).with("file", path.display());
    // Without waiting: a pipe would hold up the build for ever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(wrong)?;
    let meta = file.metadata().map_err(wrong)?;
    if !meta.is_file() {
        return Err(refuse(ErrorKind::Invalid, "what should hold a secret is no regular file"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(refuse(ErrorKind::Denied, "others may read the file of a secret")
            .hint("Take their rights away with `chmod 600`."));
    }
    let mut value = Vec::with_capacity(meta.len().min(BYTES_MAX) as usize + 1);
    file.take(BYTES_MAX + 1).read_to_end(&mut value).map_err(wrong)?;
    let secret = Secret::new(value);
    if secret.expose().len() as u64 > BYTES_MAX {
        return Err(refuse(ErrorKind::Invalid, "the file of a secret is larger than 1 MiB"));
    }
    Ok(secret)
}
