//! Where the server is, who we are there, and what is expected of it.

use kiln::{Error, ErrorKind, Result, secret::Secret};
use std::{fmt, sync::Arc, time::Duration};
use url::Url;

const OP: &str = "RedisConfig::new";
/// The port of Redis where the URL names none.
const PORT: u16 = 6379;

/// Which server to use, and how.
#[derive(Clone)]
pub struct RedisConfig {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) authority: Option<Arc<[u8]>>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: u32,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) require: Require,
    pub(crate) log_bytes_max: u64,
}

/// What a server has to keep for its journals to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// Every event that was acknowledged outlives a crash: `appendonly yes`, `appendfsync always`.
    Always,
    /// A crash loses what was acknowledged in the last second at most: `appendfsync everysec`.
    EverySecond,
    /// Nothing: whoever chooses this can live with losing builds, or knows better than the server
    /// tells.
    Nothing,
}

impl RedisConfig {
    /// Takes a URL: `redis://USER:PASSWORD@HOST:PORT/DATABASE?prefix=PREFIX`, of which only the host
    /// is needed, or `rediss://…` for TLS. User and password are percent-encoded.
    ///
    /// Every key begins with the prefix, `kiln:` unless said otherwise: letters, digits and `._:-`.
    /// `Invalid`, without the URL, if it says anything else.
    pub fn new(url: &str) -> Result<Self> {
        let url = Url::parse(url).map_err(|e| invalid("the Redis URL cannot be read").source(e))?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(invalid("the URL is neither `redis://` nor `rediss://`")),
        };
        let host = match url.host() {
            Some(url::Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(url::Host::Ipv4(address)) => address.to_string(),
            Some(url::Host::Ipv6(address)) => address.to_string(),
            _ => return Err(invalid("the Redis URL names no host")),
        };
        if url.fragment().is_some() {
            return Err(invalid("the Redis URL has a fragment, which means nothing here"));
        }
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| invalid("the path of the Redis URL is no database number"))?,
        };
        if !url.username().is_empty() && url.password().is_none() {
            return Err(invalid("the Redis URL has a user without a password"));
        }
        let config = Self {
            host,
            port: url.port().unwrap_or(PORT),
            tls,
            authority: None,
            user: Some(decoded(url.username())?).filter(|user| !user.is_empty()),
            password: url.password().map(decoded).transpose()?.map(Secret::new),
            database,
            prefix: "kiln:".to_owned(),
            timeout: Duration::from_secs(5),
            require: Require::EverySecond,
            log_bytes_max: 256 << 20,
        };
        url.query_pairs().try_fold(config, |config, (key, value)| match &*key {
            "prefix" => config.prefix(&value),
            _ => Err(invalid("the Redis URL has a parameter that is not `prefix`")),
        })
    }

    /// Sets what every key begins with: 1 to 64 letters, digits and `._:-`, else `Invalid`.
    pub fn prefix(mut self, prefix: &str) -> Result<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if !(1..=64).contains(&prefix.len()) || !prefix.chars().all(legal) {
            return Err(invalid("a prefix of keys is 1 to 64 letters, digits and `._:-`"));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// Sets how long to wait for a connection, and for each answer: 5 seconds unless said otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets what the server has to keep for its journals to be used, instead of
    /// [`Require::EverySecond`].
    #[must_use]
    pub fn require(mut self, require: Require) -> Self {
        self.require = require;
        self
    }

    /// Sets how many bytes of output one log holds at most, since Redis keeps them in memory:
    /// 256 MiB unless said otherwise. Appends of more output are `Exhausted`.
    #[must_use]
    pub fn log_bytes_max(mut self, bytes: u64) -> Self {
        self.log_bytes_max = bytes;
        self
    }

    /// Sets the certificate authorities (PEM) to trust instead of the system's; for `rediss://` only.
    #[must_use]
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(pem.into().into());
        self
    }

    /// Where the server is, for people: without user, password and anything secret.
    pub fn shown(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{scheme}://{host}:{}/{}", self.port, self.database)
    }
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, OP, why)
        .hint("Write it as redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS.")
}

/// A part of a URL without its percent signs.
fn decoded(part: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.filter(|_| *first == b'%').and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid("user or password of the Redis URL are no text"))
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("server", &self.shown())
            .field("user", &self.user)
            .field("password", &self.password)
            .field("authority", &self.authority.is_some())
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("require", &self.require)
            .field("log_bytes_max", &self.log_bytes_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_who() {
        let config = RedisConfig::new("rediss://ann:p%40ss%2F%25@[::1]:7000/3?prefix=a:").unwrap();
        assert_eq!((config.host.as_str(), config.port, config.tls), ("::1", 7000, true));
        assert_eq!(config.user.as_deref(), Some("ann"));
        assert_eq!(config.password, Some(Secret::new("p@ss/%")));
        assert_eq!((config.database, config.prefix.as_str()), (3, "a:"));
        assert_eq!(config.shown(), "rediss://[::1]:7000/3");
        let config = RedisConfig::new("redis://:secret@host").unwrap();
        assert_eq!((config.user, config.password), (None, Some(Secret::new("secret"))));
        assert_eq!((config.port, config.database, config.prefix.as_str()), (6379, 0, "kiln:"));
    }

    #[test]
    fn a_url_that_says_anything_else_is_refused_and_not_shown() {
        for bad in [
            "",
            "hunter2",
            "http://x:hunter2@host",
            "redis://x:hunter2@",
            "redis://x:hunter2@host/one",
            "redis://hunter2@host",
            "redis://x:hunter2@host/-1",
            "rediss://x:hunter2@host/#insecure",
            "redis://x:hunter2@host/?prefx=a",
            "redis://x:hunter2@host/?prefix=",
            "redis://x:hunter2@host/?prefix=a*",
            "redis://x:hunter2%ff@host",
            "redis://x:hunter2@host:99999",
        ] {
            let error = RedisConfig::new(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_password_is_in_no_debug_output() {
        let config = RedisConfig::new("redis://ann:hunter2@host").unwrap();
        let shown = format!("{config:?} {}", config.shown());
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
    }
}
