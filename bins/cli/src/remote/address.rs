//! Where a server is.

use kiln::{Error, ErrorKind, Result};
use reqwest::Url;
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The address of a server: `https://host[:port][/path]`, `http://…` or `unix:///path`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// What requests begin with; for a socket only the path counts.
    base: Url,
    socket: Option<PathBuf>,
    name: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Address {
    /// Reads an address. One server has one name, however its address was written.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(wrong("the path of a socket is absolute: write unix:///path"));
            }
            let base = Url::parse("http://localhost/").map_err(|e| wrong(&e.to_string()))?;
            return Ok(Self { base, socket: Some(path.into()), name: text.to_owned() });
        }
        let mut base = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong("it begins with https://, http:// or unix://"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("it must not hold a login: `kiln login` keeps a token"));
        }
        base.set_query(None);
        base.set_fragment(None);
        let name = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base, socket: None, name })
    }

    /// How people know it, and under which name its token is kept.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The socket it listens on, if it is one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Whether it is on this machine.
    pub(crate) fn is_here(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = |ip: IpAddr| ip.is_loopback();
        self.socket.is_some() || host == "localhost" || host.parse().is_ok_and(loopback)
    }

    /// Whether nobody on the way can read what is sent.
    pub(crate) fn is_private(&self) -> bool {
        self.base.scheme() == "https" || self.is_here()
    }

    /// The URL of a resource, each part of whose path is escaped.
    pub(crate) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Only addresses without a host have no path.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url
    }
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, "kiln", format!("that is not the address of a server: {why}"))
        .hint("Write it as https://kiln.example.com or http://127.0.0.1:7070.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_has_one_name() {
        let name = |text: &str| Address::parse(text).unwrap().name().to_owned();
        for same in ["https://kiln.test", "https://KILN.test/", "https://kiln.test:443/?x#y"] {
            assert_eq!(name(same), "https://kiln.test");
        }
        assert_eq!(name("http://127.0.0.1:7070/"), "http://127.0.0.1:7070");
        assert_eq!(name("unix:///run/kiln.sock"), "unix:///run/kiln.sock");
        for bad in
            ["", "kiln.test", "localhost:7070", "ftp://x", "http://", "unix://x", "file:///x"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_login_in_an_address_is_refused_and_not_repeated() {
        for text in ["https://bob:hunter2@kiln.test", "https://hunter2@kiln.test"] {
            let e = Address::parse(text).unwrap_err();
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_here() {
        let here = |text: &str| Address::parse(text).unwrap().is_here();
        for text in ["http://localhost:1", "http://127.9.9.9", "http://[::1]:7070", "unix:///x"] {
            assert!(here(text), "{text}");
        }
        for text in ["http://10.0.0.1", "http://localhost.evil.test", "http://127.0.0.1.nip.io"] {
            assert!(!here(text), "{text}");
        }
    }

    #[test]
    fn no_part_of_a_path_leads_elsewhere() {
        let address = Address::parse("https://x.test/kiln/").unwrap();
        let url = address.url(&["builds", "../a b?c"]);
        assert_eq!(url.as_str(), "https://x.test/kiln/builds/..%2Fa%20b%3Fc");
    }
}
