//! Tokens, kept as hashes in a file of the data directory.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kiln::{Error, ErrorKind, Owner, Result, Secret};
use kiln_api_native::{Access, Caller, Everybody, Scope, TokenBook, TokenInfo};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
};

/// What every token begins with, so that scanners for leaked secrets can find it.
const PREFIX: &str = "kiln_";

/// The file with the tokens. It is read anew for each request that brings a token: it is short,
/// and a removed token is refused at once, by every process.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
}

/// Who may do what: everybody everything as long as there are no tokens, on listeners that only
/// this machine reaches; those with a token what it says, from the first one on.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    tokens: Tokens,
    local: bool,
}

impl Door {
    /// The door of listeners that only this machine reaches, or others too.
    pub(crate) fn of(tokens: Tokens, local: bool) -> Self {
        Self { tokens, local }
    }

    /// Whether no token is needed now.
    pub(crate) fn is_open(&self) -> Result<bool> {
        Ok(self.local && self.tokens.list()?.is_empty())
    }
}

#[async_trait]
impl Access for Door {
    async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        match self.is_open()? {
            true => Everybody.caller(token).await,
            false => self.tokens.caller(token).await,
        }
    }
}

#[async_trait]
impl kiln_api_agent::Access for Door {
    async fn caller(&self, token: Option<&str>) -> Result<kiln_api_agent::Caller> {
        use kiln_api_agent::Scope as Of;
        let caller = Access::caller(self, token).await?;
        let scope = match () {
            () if caller.scopes.contains(&Scope::Agent) => Of::Agent,
            () if caller.is_admin() => Of::Admin,
            () => Of::Other,
        };
        // Who needs no token has none with a name.
        let name = caller.name.unwrap_or_else(|| "everybody".into());
        Ok(kiln_api_agent::Caller { name, scope })
    }
}

/// A token, without the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    name: String,
    /// SHA-256 of the token, base64. A token has 256 random bits, so that no guess finds it and
    /// no slower hash is needed.
    hash: String,
    owner: Owner,
    scopes: Vec<Scope>,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.scopes.iter().map(|s| format!("{s:?}").to_lowercase()).collect();
        write!(f, "{}\t{}\t{}", self.name, self.owner, scopes.join(","))
    }
}

fn broken(path: &Path, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Unexpected, "kiln-server", "the tokens cannot be read or written")
        .with("file", path.display())
        .source(e)
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// A new token as its owner sees it, once.
pub(crate) fn shown(token: &Secret) -> &str {
    token.expose_str().unwrap_or_default()
}

impl Tokens {
    pub(crate) fn of(data: &Path) -> Self {
        Self { path: data.join("tokens.json") }
    }

    pub(crate) fn list(&self) -> Result<Vec<Token>> {
        match fs::read(&self.path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|e| broken(&self.path, e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(broken(&self.path, e)),
        }
    }

    /// Keeps others from changing the file for as long as the answer lives.
    fn locked(&self) -> Result<fs::File> {
        let fail = |e: std::io::Error| broken(&self.path, e);
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new("."))).map_err(fail)?;
        let path = self.path.with_extension("lock");
        let lock = fs::File::create(path).map_err(fail)?;
        lock.lock().map_err(fail)?;
        Ok(lock)
    }

    fn write(&self, tokens: &[Token]) -> Result<()> {
        let fail = |e: std::io::Error| broken(&self.path, e);
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir).map_err(fail)?;
        let json = serde_json::to_vec_pretty(tokens).map_err(|e| broken(&self.path, e))?;
        // Whole or not at all; such a file is readable for its owner only.
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
        file.write_all(&json).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        file.persist(&self.path).map_err(|e| broken(&self.path, e.error))?;
        Ok(())
    }

    pub(crate) fn create(&self, name: &str, owner: Owner, scopes: Vec<Scope>) -> Result<Secret> {
        let _lock = self.locked()?;
        let mut tokens = self.list()?;
        if tokens.iter().any(|t| t.name == name) {
            let message = format!("there is a token `{name}` already");
            return Err(Error::new(ErrorKind::AlreadyExists, "kiln-server", message)
                .hint("Choose another name, or remove that one first."));
        }
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(|e| broken(&self.path, e.to_string()))?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits));
        let hash = URL_SAFE_NO_PAD.encode(hash(&text));
        tokens.push(Token { name: name.to_owned(), hash, owner, scopes });
        self.write(&tokens)?;
        Ok(Secret::new(text))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let _lock = self.locked()?;
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|t| t.name != name);
        if tokens.len() == before {
            let message = format!("there is no token `{name}`");
            return Err(Error::new(ErrorKind::NotFound, "kiln-server", message)
                .hint("`kiln-server token list` lists them."));
        }
        self.write(&tokens)
    }
}

#[async_trait]
impl TokenBook for Tokens {
    async fn list(&self) -> Result<Vec<TokenInfo>> {
        let info = |t: Token| TokenInfo {
            name: t.name,
            owner: t.owner,
            scopes: t.scopes.into_iter().collect(),
        };
        let mut tokens: Vec<_> = Self::list(self)?.into_iter().map(info).collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tokens)
    }

    async fn create(&self, token: &TokenInfo) -> Result<Secret> {
        Self::create(self, &token.name, token.owner.clone(), token.scopes.iter().copied().collect())
    }

    async fn remove(&self, name: &str) -> Result<()> {
        Self::remove(self, name)
    }
}

#[async_trait]
impl Access for Tokens {
    async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        let denied = |message| Error::new(ErrorKind::Denied, "Access", message);
        let token = token.ok_or_else(|| denied("this server needs a token"))?;
        // Hashes are compared, not tokens: how far two of them agree tells nothing of a token.
        let hash = URL_SAFE_NO_PAD.encode(hash(token));
        let found = self.list()?.into_iter().find(|t| t.hash == hash);
        let found = found.ok_or_else(|| denied("nobody has this token"))?;
        let scopes = found.scopes.into_iter().collect();
        Ok(Caller { owner: found.owner, name: Some(found.name), scopes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_known_until_it_is_removed_and_never_kept() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(dir.path());
        let ann = Owner::new("ann").unwrap();
        let secret = tokens.create("ci", ann.clone(), vec![Scope::Submit]).unwrap();
        let text = shown(&secret).to_owned();
        assert!(!fs::read_to_string(dir.path().join("tokens.json")).unwrap().contains(&text));
        let caller = tokens.caller(Some(&text)).await.unwrap();
        assert_eq!(caller.owner, ann);
        caller.expect(Scope::Read).unwrap();
        assert_eq!(caller.expect(Scope::Agent).unwrap_err().kind(), ErrorKind::Denied);
        assert!(tokens.create("ci", ann, vec![]).is_err());
        tokens.remove("ci").unwrap();
        for token in [Some(text.as_str()), Some("kiln_x"), Some(""), None] {
            assert_eq!(tokens.caller(token).await.unwrap_err().kind(), ErrorKind::Denied);
        }
    }
}
