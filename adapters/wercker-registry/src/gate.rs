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

    #[test]
    fn a_host_that_is_an_address_is_judged_in_all_its_spellings() {
        let url = |host: &str| Url::parse(&format!("http://{host}:80/x")).unwrap();
        for host in ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:7f00:1]"] {
            assert!(Gate::new(false).judge(&url(host)).is_err(), "{host}");
            assert!(Gate::new(true).judge(&url(host)).is_ok(), "{host}");
        }
        assert!(Gate::new(false).judge(&url("1.1.1.1")).is_ok());
    }

    #[test]
    fn a_name_is_judged_by_what_it_means_each_time() {
        let public = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let says = public.clone();
        let gate = Gate::with(false, move |_| {
            let public = says.load(std::sync::atomic::Ordering::Relaxed);
            let all: &[&str] = if public { &["1.1.1.1:0", "10.0.0.1:0"] } else { &["10.0.0.1:0"] };
            let all = all.iter().map(|a| a.parse().unwrap()).collect();
            Box::pin(async move { Ok(all) })
        });
        let resolve = || {
            let resolved = futures::executor::block_on(gate.resolve("steps.test".parse().unwrap()));
            resolved.map(|all| all.map(|a| a.ip().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(resolve().unwrap(), ["1.1.1.1"]);
        public.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(resolve().unwrap_err().is::<Refused>());
    }
}
