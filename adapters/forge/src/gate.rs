//! Which addresses may be connected to.
//!
//! Names are resolved here and nowhere else, and what is handed on is what is connected to: a name
//! cannot mean another address after it was judged.

use kiln::net::is_public;
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use std::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

/// The host has no address that may be connected to.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host has only addresses of private networks")
    }
}

impl std::error::Error for Refused {}

type Looked = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

/// Resolves names to the addresses that are allowed.
#[derive(Clone)]
pub(crate) struct Gate {
    private: bool,
    look_up: Arc<dyn Fn(String) -> Looked + Send + Sync>,
}

impl Gate {
    /// The names of this machine's resolver; `private` allows every address.
    pub(crate) fn new(private: bool) -> Self {
        Self::with(private, |name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        })
    }

    fn with(private: bool, look_up: impl Fn(String) -> Looked + Send + Sync + 'static) -> Self {
        Self { private, look_up: Arc::new(look_up) }
    }

    /// Judges a URL whose host is an address already: nobody resolves that.
    pub(crate) fn judge(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match host.parse::<IpAddr>() {
            Ok(address) if !self.private && !is_public(address) => Err(Refused),
            _ => Ok(()),
        }
    }
}

impl Resolve for Gate {
    fn resolve(&self, name: Name) -> Resolving {
        let (gate, looked) = (self.clone(), (self.look_up)(name.as_str().to_owned()));
        Box::pin(async move {
            let allowed = |a: &SocketAddr| gate.private || is_public(a.ip());
            let addresses: Vec<_> = looked.await?.into_iter().filter(allowed).collect();
            match addresses.is_empty() {
                true => Err(Refused.into()),
                false => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn of(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_that_is_an_address_is_judged_in_all_its_spellings() {
        let url = |text: &str| Url::parse(text).unwrap();
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "[::1]",
            "[::ffff:7f00:1]",
            "169.254.169.254",
        ] {
            let url = url(&format!("http://{host}:80/x"));
            assert!(Gate::new(false).judge(&url).is_err(), "{host}");
            assert!(Gate::new(true).judge(&url).is_ok(), "{host}");
        }
        assert!(Gate::new(false).judge(&url("https://1.1.1.1/")).is_ok());
    }

    fn resolve(gate: &Gate) -> Result<Vec<IpAddr>, String> {
        let name: Name = "receiver.test".parse().unwrap();
        let resolved = futures::executor::block_on(gate.resolve(name));
        resolved.map(|a| a.map(|a| a.ip()).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_name_that_changes_its_meaning_is_judged_each_time() {
        let calls = Arc::new(AtomicUsize::new(0));
        let gate = Gate::with(false, move |_| {
            let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            let addresses: &[&str] =
                if first { &["1.1.1.1:0", "127.0.0.1:0"] } else { &["127.0.0.1:0"] };
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            Box::pin(async move { Ok(addresses) })
        });
        assert_eq!(resolve(&gate).unwrap(), [of("1.1.1.1")]);
        assert_eq!(resolve(&gate).unwrap_err(), Refused.to_string());
    }
}
