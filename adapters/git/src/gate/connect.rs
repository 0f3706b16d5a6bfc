//! Connections to addresses that were judged.

use super::Shared;
use crate::{address::is_public_name, error};
use kiln::{Error, ErrorKind, Result, net::is_public};
use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    time::Instant,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// Connects to a host. A name is resolved once, and only what that gave is judged and reached.
pub(super) async fn connect(shared: &Shared, host: &str, port: u16) -> Result<TcpStream> {
    reach(shared, host, port, judge).await
}

/// Connects to a proxy, wherever it is: who names one in the configuration allows it.
pub(super) async fn connect_to_proxy(shared: &Shared, host: &str, port: u16) -> Result<TcpStream> {
    reach(shared, host, port, |_, _, found| Ok(found)).await
}

type Judge = fn(&Shared, &str, Vec<SocketAddr>) -> Result<Vec<SocketAddr>>;

async fn reach(shared: &Shared, host: &str, port: u16, judge: Judge) -> Result<TcpStream> {
    let connecting = async {
        let bare = bare(host);
        let found = match literal(bare, port) {
            Some(address) => vec![address],
            None => {
                lookup_host((bare, port)).await.map_err(|e| unresolved(shared, host, &e))?.collect()
            }
        };
        let mut last = None;
        for address in judge(shared, host, found)? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Small packets are answered at once; without it the stream is only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(e) => last = Some(e),
            }
        }
        Err(unreachable(shared, host, last))
    };
    let limit = shared.config.connect_timeout;
    let late = |_| unreachable(shared, host, Some(format!("no answer within {limit:?}")));
    timeout(limit, connecting).await.map_err(late)?
}

/// The same for a thread that may wait.
pub(super) fn connect_blocking(
    shared: &Shared,
    host: &str,
    port: u16,
) -> Result<std::net::TcpStream> {
    let bare = bare(host);
    let found = match literal(bare, port) {
        Some(address) => vec![address],
        None => (bare, port).to_socket_addrs().map_err(|e| unresolved(shared, host, &e))?.collect(),
    };
    let (start, limit) = (Instant::now(), shared.config.connect_timeout);
    let mut last = None;
    for address in judge(shared, host, found)? {
        // All addresses together have the time; one that has none is no error of its own.
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() || shared.is_closed() {
            break;
        }
        match std::net::TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(e) => last = Some(e),
        }
    }
    Err(unreachable(shared, host, last))
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    host.parse::<IpAddr>().ok().map(|ip| (ip, port).into())
}

/// The addresses that may be reached.
fn judge(shared: &Shared, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>> {
    if shared.config.allow_private_network {
        return Ok(found);
    }
    let public: Vec<_> = found.into_iter().filter(|a| is_public(a.ip())).collect();
    if public.is_empty() { Err(private(shared, host)) } else { Ok(public) }
}

/// Refuses a host that a proxy is to reach, if its name alone shows that it is not public. What the
/// name means to the proxy, only the proxy knows.
pub(super) fn judge_name(shared: &Shared, host: &str) -> Result<()> {
    let public = match bare(host).parse::<IpAddr>() {
        Ok(address) => is_public(address),
        Err(_) => is_public_name(host),
    };
    if public || shared.config.allow_private_network {
        return Ok(());
    }
    Err(private(shared, host))
}

fn private(shared: &Shared, host: &str) -> Error {
    let message = "the host is not on the public internet, which this node does not allow";
    error::forbidden(shared.op, message)
        .with("host", host)
        .hint("Whoever runs the node can allow private networks in its git configuration.")
}

fn unresolved(shared: &Shared, host: &str, e: &std::io::Error) -> Error {
    shared
        .error(ErrorKind::Unavailable, format!("the host name cannot be resolved: {e}"))
        .with("host", host)
        .hint("Check the spelling of the host and the network of this machine.")
}

fn unreachable(shared: &Shared, host: &str, why: Option<impl Display>) -> Error {
    let why = why.map_or_else(|| "it has no address".to_owned(), |e| e.to_string());
    shared
        .error(ErrorKind::Unavailable, format!("the host cannot be reached: {why}"))
        .with("host", host)
}
