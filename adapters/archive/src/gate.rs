//! The way to archives at a URL: only to public addresses, within limits of size and time.
//!
//! A name is resolved once, by a resolver that gives nothing but addresses that were judged; the
//! connection goes to one of these. Redirects are followed by hand, and each is judged anew.

use crate::{
    ArchiveConfig,
    url::{ArchiveUrl, shown},
};
use futures::{StreamExt, stream};
use kiln::{Error, ErrorKind, Result, net::is_public, port::ByteStream};
use reqwest::{
    Client, Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header, redirect,
};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};
use tokio::{net::lookup_host, time::Instant};

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 5;

/// What fetches archives.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    client: Arc<OnceLock<Client>>,
    config: Arc<ArchiveConfig>,
}

/// Gives only addresses that may be reached.
#[derive(Debug)]
struct Judge {
    allow_private: bool,
}

/// Why a name has no address here.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no public address")
    }
}

impl std::error::Error for NotPublic {}

impl Resolve for Judge {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let all: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            let judged = all.into_iter().filter(|a| allow_private || is_public(a.ip()));
            let judged: Vec<_> = judged.collect();
            if judged.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(judged.into_iter()) as Addrs)
        })
    }
}

impl Gate {
    pub(crate) fn new(config: Arc<ArchiveConfig>) -> Self {
        Self { client: Arc::default(), config }
    }

    /// What connects. It is made when the first archive is fetched, since many nodes never do.
    fn client(&self, op: &'static str) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let judge = Judge { allow_private: self.config.allow_private_network };
        let client = Client::builder()
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(judge))
            .redirect(redirect::Policy::none())
            .connect_timeout(self.config.connect_timeout)
            .read_timeout(self.config.server_timeout)
            .referer(false)
            // What a name means to a proxy, only the proxy knows.
            .no_proxy()
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Unexpected, op, "no connection can be prepared").source(e)
            })?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The bytes of an archive, as they come.
    pub(crate) async fn get(&self, op: &'static str, url: &ArchiveUrl) -> Result<ByteStream> {
        let until = Instant::now() + self.config.total_timeout;
        let client = self.client(op)?;
        let mut url = url.url().clone();
        for _ in 0..=REDIRECTS_MAX {
            self.judge(op, &url)?;
            let response = client.get(url.clone()).send().await;
            let response = response.map_err(|e| unreachable(op, &url, e))?;
            match next(op, &url, &response)? {
                Some(next) => url = next,
                None => return self.body(op, response, until),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, op, "the server redirects again and again"))
    }

    /// Judges what needs no resolving: names go through the resolver.
    fn judge(&self, op: &'static str, url: &Url) -> Result<()> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match host.parse::<IpAddr>() {
            Ok(address) if !self.config.allow_private_network && !is_public(address) => {
                Err(private(op, url))
            }
            _ => Ok(()),
        }
    }

    fn body(&self, op: &'static str, response: Response, until: Instant) -> Result<ByteStream> {
        let (max, url) = (self.config.bytes_max, response.url().clone());
        if response.content_length().is_some_and(|length| length > max) {
            return Err(too_large(op, max));
        }
        let pieces = response.bytes_stream().boxed();
        let bounded = stream::try_unfold((pieces, 0), move |(mut pieces, before)| {
            let url = url.clone();
            async move {
                let next = tokio::time::timeout_at(until, pieces.next()).await;
                let piece = match next {
                    Ok(Some(Ok(piece))) => piece,
                    Ok(Some(Err(e))) => return Err(unreachable(op, &url, e)),
                    Ok(None) => return Ok(None),
                    Err(_) => {
                        let message = "the archive did not come in time";
                        return Err(Error::new(ErrorKind::Timeout, op, message));
                    }
                };
                let bytes = before + piece.len() as u64;
                if bytes > max {
                    return Err(too_large(op, max));
                }
                Ok(Some((piece, (pieces, bytes))))
            }
        });
        Ok(bounded.boxed())
    }
}

/// Where an answer leads; `None` if it is the archive itself.
fn next(op: &'static str, url: &Url, response: &Response) -> Result<Option<Url>> {
    let status = response.status();
    if status.is_redirection() {
        let place = response.headers().get(header::LOCATION).and_then(|h| h.to_str().ok());
        let next = place.and_then(|place| url.join(place).ok()).filter(|next| {
            let downgraded = url.scheme() == "https" && next.scheme() != "https";
            matches!(next.scheme(), "https" | "http") && !downgraded
        });
        return next.map(Some).ok_or_else(|| {
            let message = "the server redirects to where no archive is fetched from";
            Error::new(ErrorKind::Denied, op, message)
        });
    }
    let (kind, message) = match status {
        StatusCode::OK => return Ok(None),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            (ErrorKind::NotFound, "there is no such archive")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (ErrorKind::Denied, "the server does not give the archive to everybody")
        }
        StatusCode::TOO_MANY_REQUESTS => (ErrorKind::RateLimited, "the server has had enough"),
        status if status.is_server_error() => (ErrorKind::Unavailable, "the server broke"),
        _ => (ErrorKind::Invalid, "the server gives no archive"),
    };
    Err(Error::new(kind, op, message).with("status", status.as_u16()))
}

fn private(op: &'static str, url: &Url) -> Error {
    let message = "the host is not on the public internet, which this node does not allow";
    Error::new(ErrorKind::Denied, op, message)
        .with("host", url.host_str().unwrap_or_default())
        .hint("Whoever runs the node can allow private networks for archives.")
}

fn too_large(op: &'static str, max: u64) -> Error {
    Error::new(ErrorKind::Exhausted, op, "the archive is too large").with("limit", max)
}

fn unreachable(op: &'static str, url: &Url, e: reqwest::Error) -> Error {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&e);
    while let Some(cause) = next {
        if cause.is::<NotPublic>() {
            return private(op, url);
        }
        next = cause.source();
    }
    let message = match e.is_timeout() {
        true => "the server is silent",
        false => "the server cannot be reached, or broke off",
    };
    let error = Error::new(ErrorKind::Unavailable, op, message).with("from", shown(url));
    error.source(e.without_url())
}
