//! The tokens that `kiln login` keeps.

use super::{Address, var};
use kiln::{Error, ErrorKind, Result, Secret};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

const VERSION: u32 = 1;

/// A file with a token for each server, which only its user can read.
#[derive(Debug)]
pub(crate) struct Keyring {
    path: PathBuf,
}

/// The form of the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    servers: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    token: String,
}

impl Keyring {
    /// The file of this user: `servers.json` in `$XDG_CONFIG_HOME/kiln` or `~/.config/kiln`.
    pub(crate) fn of_user() -> Result<Self> {
        let config = var("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| Some(PathBuf::from(var("HOME")?).join(".config")));
        let config = config.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "kiln", "there is no HOME to keep tokens in")
                .hint("Name a file with KILN_TOKEN_FILE or --token-file.")
        })?;
        Ok(Self { path: config.join("kiln/servers.json") })
    }

    /// The token for a server, if one is kept.
    pub(crate) fn token(&self, server: &Address) -> Result<Option<Secret>> {
        let mut stored = self.read()?;
        Ok(stored.servers.remove(server.name()).map(|entry| Secret::new(entry.token)))
    }

    /// Keeps a token for a server, in place of the one before.
    pub(crate) fn keep(&self, server: &Address, token: &Secret) -> Result<()> {
        let mut stored = self.read()?;
        let token = token.expose_str().unwrap_or_default().to_owned();
        stored.servers.insert(server.name().to_owned(), Entry { token });
        self.write(&stored)
    }

    /// Forgets the token for a server; returns whether there was one.
    pub(crate) fn forget(&self, server: &Address) -> Result<bool> {
        let mut stored = self.read()?;
        let had = stored.servers.remove(server.name()).is_some();
        if had {
            self.write(&stored)?;
        }
        Ok(had)
    }

    fn wrong(&self, message: &str) -> Error {
        Error::new(ErrorKind::Invalid, "kiln", message).with("file", self.path.display())
    }

    fn read(&self) -> Result<Stored> {
        let none = Stored { version: VERSION, servers: BTreeMap::new() };
        let failed = |e: io::Error| {
            self.wrong("the tokens that are kept cannot be read").source(e.to_string())
        };
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(none),
            Err(e) => return Err(failed(e)),
        };
        let mode = fs::metadata(&self.path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let message = "others can read the file with your tokens";
            return Err(self.wrong(message).hint("Make it yours alone with `chmod 600`."));
        }
        // What the reader says could repeat a token.
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| {
            self.wrong("the file with your tokens is damaged")
                .hint("Remove it, and log in again with `kiln login`.")
        })?;
        match stored.version {
            VERSION => Ok(stored),
            _ => Err(self.wrong("the file with your tokens is of a newer kiln")),
        }
    }

    /// Replaces the file whole, so that a crash leaves the one before.
    fn write(&self, stored: &Stored) -> Result<()> {
        let failed = |e: io::Error| self.wrong("the token cannot be kept").source(e.to_string());
        let json = serde_json::to_vec_pretty(stored).map_err(|e| failed(e.into()))?;
        if let Some(dir) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        }
        let new = self.path.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|e| {
            // It may never have been made.
            let _ = fs::remove_file(&new);
            failed(e)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_token_is_kept_for_its_server_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Keyring { path: dir.path().join("a/kiln/servers.json") };
        let (one, two) = (address("https://one.test"), address("https://two.test"));
        assert_eq!(ring.token(&one).unwrap(), None);
        ring.keep(&one, &Secret::new("first")).unwrap();
        ring.keep(&two, &Secret::new("second")).unwrap();
        ring.keep(&one, &Secret::new("third")).unwrap();
        assert_eq!(ring.token(&address("https://ONE.test/")).unwrap(), Some(Secret::new("third")));
        assert_eq!(fs::metadata(&ring.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(ring.forget(&one).unwrap() && !ring.forget(&one).unwrap());
        assert_eq!(ring.token(&two).unwrap(), Some(Secret::new("second")));
        let names = fs::read_dir(ring.path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "something is left beside the file");
    }

    #[test]
    fn a_file_that_others_read_or_that_is_damaged_is_refused_without_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Keyring { path: dir.path().join("servers.json") };
        let one = address("https://one.test");
        ring.keep(&one, &Secret::new("hunter2")).unwrap();
        fs::set_permissions(&ring.path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(ring.token(&one).unwrap_err().hint_text().unwrap().contains("chmod"));
        fs::set_permissions(&ring.path, fs::Permissions::from_mode(0o600)).unwrap();
        for bad in ["{\"version\":1,\"servers\":{\"x\":\"hunter2\"}}", "hunter2"] {
            fs::write(&ring.path, bad).unwrap();
            let e = ring.token(&one).unwrap_err();
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
    }
}
