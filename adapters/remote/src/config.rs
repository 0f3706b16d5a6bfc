//! Where the server is, and who we are.

use kiln::{Error, ErrorKind, NodeId, Result, Secret};
use reqwest::Url;

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Its address, such as `https://kiln.example`; a path is kept in front of all requests.
    pub server: String,
    /// The token, where the server needs one.
    pub token: Option<Secret>,
    /// The node that this process is, for leases it had before it was started again.
    pub node: Option<NodeId>,
    /// Certificates (PEM) to trust beside those of the system.
    pub ca: Option<Vec<u8>>,
}

impl RemoteConfig {
    /// A server without a token.
    pub fn new(server: impl Into<String>) -> Self {
        Self { server: server.into(), token: None, node: None, ca: None }
    }

    /// The address, checked.
    pub(crate) fn url(&self) -> Result<Url> {
        let invalid = |problem: String| {
            Error::new(ErrorKind::Invalid, "RemoteClient::new", problem)
                .hint("Write it as https://HOST or http://HOST:PORT.")
        };
        // The text itself is not shown: it may hold a password.
        let url = Url::parse(&self.server)
            .map_err(|e| invalid(format!("the address of the server is no URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(invalid("the address of the server is not of http or https".into()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let message = "the address of the server holds a user or a password";
            return Err(Error::new(ErrorKind::Invalid, "RemoteClient::new", message)
                .hint("A token goes into a file: --token-file."));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("the address of the server holds a query or a fragment".into()));
        }
        Ok(url)
    }

    /// Whether whoever listens on the way reads the token and every secret.
    pub fn is_in_clear(&self) -> bool {
        self.url().is_ok_and(|url| {
            let host = url.host_str().unwrap_or_default();
            let loopback = host == "localhost"
                || host
                    .trim_matches(['[', ']'])
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
            url.scheme() == "http" && !loopback
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_passwords_not_shown() {
        for good in ["https://kiln.example", "http://127.0.0.1:7070/", "https://h/kiln/"] {
            RemoteConfig::new(good).url().unwrap();
        }
        for bad in
            ["", "kiln.example", "ftp://h", "https://u:hunter2@h", "http://h/?a=b", "http://h/#a"]
        {
            let e = RemoteConfig::new(bad).url().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{bad}");
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
        for (url, clear) in [
            ("http://h", true),
            ("https://h", false),
            ("http://localhost:1", false),
            ("http://127.0.0.1", false),
            ("http://[::1]:1", false),
        ] {
            assert_eq!(RemoteConfig::new(url).is_in_clear(), clear, "{url}");
        }
    }
}
