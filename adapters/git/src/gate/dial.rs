//! Connections for HTTP: directly or through a proxy, in the clear or over TLS.

use super::{
    Shared,
    connect::{connect, connect_to_proxy, judge_name},
};
use crate::{
    error,
    proxy::{Proxy, ProxyError},
};
use bytes::Bytes;
use http_body_util::{Empty, Full};
use hyper::{
    Method, Request, StatusCode, Uri,
    client::conn::http1::{SendRequest, handshake},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use kiln::{Error, ErrorKind, Result, Secret, net::is_public};
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use url::{Position, Url};

/// Forges look at it to tell git from a browser.
pub(super) const AGENT: &str = "git/2.0 (kiln; libgit2)";

/// A connection that requests can be sent over.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) origin: url::Origin,
    /// Whether it crosses the public internet.
    pub(super) public: bool,
    /// The proxy that forwards requests; a tunnel is none.
    forwarder: Option<Proxy>,
}

impl Connection {
    /// How a request names what it asks for.
    pub(super) fn target(&self, url: &Url) -> String {
        let from =
            if self.forwarder.is_some() { Position::BeforeScheme } else { Position::BeforePath };
        url[from..].to_owned()
    }

    /// What the proxy wants to see with every request.
    pub(super) fn proxy_login(&self) -> Option<HeaderValue> {
        self.forwarder.as_ref().and_then(|proxy| basic_header(proxy.login.as_ref()?))
    }
}

/// `Basic …` as the value of a header that is not to be shown.
pub(super) fn basic_header(basic: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&[b"Basic ", basic.expose()].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

type BoxStream = Box<dyn Stream>;

/// Connects to the server of a URL.
pub(super) async fn dial(shared: &Shared, url: &Url) -> Result<Connection> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let proxy = shared.config.proxies.for_url(url).map_err(|e| no_proxy(shared, &e))?;
    let (stream, public): (BoxStream, bool) = match &proxy {
        None => {
            let stream = connect(shared, host, port).await?;
            let public = stream.peer_addr().is_ok_and(|a| is_public(a.ip()));
            (Box::new(stream), public)
        }
        Some(proxy) => {
            judge_name(shared, host)?;
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            let public = address.map_or(true, is_public);
            let through = |e: Error| e.with("proxy", proxy.place());
            (through_proxy(shared, proxy, url).await.map_err(through)?, public)
        }
    };
    let (sender, forwarder) = if url.scheme() == "https" {
        (exchange(shared, secure(shared, host, stream).await?).await?, None)
    } else {
        (exchange(shared, stream).await?, proxy)
    };
    Ok(Connection { sender, origin: url.origin(), public, forwarder })
}

fn no_proxy(shared: &Shared, e: &ProxyError) -> Error {
    let kind = match e {
        ProxyError::Invalid => ErrorKind::Invalid,
        ProxyError::Scheme(_) => ErrorKind::Unsupported,
    };
    let hint = "Change the proxy in the git configuration, or the variables that it is read from.";
    shared.error(kind, e.to_string()).hint(hint)
}

/// A stream to the proxy, or through it for https.
async fn through_proxy(shared: &Shared, proxy: &Proxy, url: &Url) -> Result<BoxStream> {
    let mut stream: BoxStream = Box::new(connect_to_proxy(shared, &proxy.host, proxy.port).await?);
    if proxy.tls {
        stream = secure(shared, &proxy.host, stream).await?;
    }
    if url.scheme() != "https" {
        return Ok(stream);
    }
    let opened = timeout(shared.config.connect_timeout, tunnel(shared, proxy, url, stream)).await;
    opened.map_err(|_| shared.error(ErrorKind::Unavailable, "the proxy gives no answer"))?
}

/// Has a proxy pass bytes on to the server of a URL.
async fn tunnel(shared: &Shared, proxy: &Proxy, url: &Url, to: BoxStream) -> Result<BoxStream> {
    let broken = |e: hyper::Error| {
        shared.error(ErrorKind::Unavailable, format!("the proxy broke the connection: {e}"))
    };
    let (mut sender, connection) =
        handshake::<_, Empty<Bytes>>(TokioIo::new(to)).await.map_err(broken)?;
    // It ends when the tunnel does.
    tokio::spawn(connection.with_upgrades());
    let port = url.port_or_known_default().unwrap_or(443);
    let authority = format!("{}:{port}", url.host_str().unwrap_or_default());
    let invalid = |e: &dyn std::fmt::Display| {
        shared.error(ErrorKind::Invalid, format!("the URL makes no request to a proxy: {e}"))
    };
    let uri: Uri = authority.parse().map_err(|e| invalid(&e))?;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(uri)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, AGENT);
    if let Some(login) = proxy.login.as_ref().and_then(basic_header) {
        request = request.header(header::PROXY_AUTHORIZATION, login);
    }
    let request = request.body(Empty::new()).map_err(|e| invalid(&e))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if !response.status().is_success() {
        return Err(refusal(shared, proxy, response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

fn refusal(shared: &Shared, proxy: &Proxy, status: StatusCode) -> Error {
    let (kind, message) = match status.as_u16() {
        407 if proxy.login.is_some() => (ErrorKind::Denied, "the proxy refuses our credentials"),
        407 => (ErrorKind::Denied, "the proxy wants credentials"),
        401 | 403 | 405 => (ErrorKind::Denied, "the proxy does not lead to this server"),
        _ => (ErrorKind::Unavailable, "the proxy cannot reach the server"),
    };
    shared.error(kind, message).with("status", status.as_u16())
}

/// TLS with a host, which has to be the one that its certificate names.
async fn secure(shared: &Shared, host: &str, stream: BoxStream) -> Result<BoxStream> {
    let tls = shared.trust.tls(shared.op, &shared.config)?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| shared.error(ErrorKind::Invalid, "the host is no name for TLS"))?;
    let handshake = tokio_rustls::TlsConnector::from(tls).connect(name, stream);
    let secured = timeout(shared.config.connect_timeout, handshake).await;
    let stream = secured.map_err(|_| shared.silent())?.map_err(|e| {
        shared
            .error(ErrorKind::Unavailable, format!("no safe connection came about: {e}"))
            .with("host", host)
            .hint("If the server has a certificate of its own, name its authority in the git configuration.")
    })?;
    Ok(Box::new(stream))
}

async fn exchange(shared: &Shared, stream: BoxStream) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|e| shared.error(ErrorKind::Unavailable, e.to_string()))?;
    // It ends when the sender is dropped and the last answer is read or dropped.
    tokio::spawn(connection);
    Ok(sender)
}

/// Refuses to show credentials where anybody can read them.
pub(super) fn refuse_clear(shared: &Shared) -> Error {
    let message = "the server wants credentials in the clear, over the public internet";
    error::forbidden(shared.op, message).hint("Use https.")
}
