//! Listeners: TCP, with TLS where there is a certificate, and unix sockets.

mod address;
mod serve;
mod tls;

pub(crate) use address::Address;
pub(crate) use serve::{Limits, serve};

use crate::config::Tls;
use kiln::{Error, ErrorKind, Result};
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a client may take to agree on TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A listener that is bound.
pub(crate) struct Bound {
    socket: Socket,
    tls: Option<TlsAcceptor>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A connection of one kind or another.
pub(crate) enum Connection {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

fn cannot(address: &Address, e: io::Error) -> Error {
    let hint = match e.kind() {
        io::ErrorKind::AddrInUse => "Choose another address, or stop who has it.",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need privileges; choose another.",
        _ => "Choose another address.",
    };
    Error::new(ErrorKind::Unexpected, "kiln-server", "the address cannot be listened on")
        .with("address", address)
        .source(e)
        .hint(hint)
}

impl Bound {
    /// Binds. A unix socket is for its owner only as long as the server is open to all who reach it.
    pub(crate) async fn to(address: &Address, tls: Option<&Tls>, open: bool) -> Result<Self> {
        let wrong = |e| cannot(address, e);
        let socket = match address {
            Address::Tcp(tcp) => Socket::Tcp(TcpListener::bind(tcp).await.map_err(wrong)?),
            Address::Unix(path) => {
                remove_stale(path).map_err(wrong)?;
                let listener = UnixListener::bind(path).map_err(wrong)?;
                let mode = if open { 0o600 } else { 0o666 };
                let mode = fs::Permissions::from_mode(mode);
                fs::set_permissions(path, mode).map_err(wrong)?;
                Socket::Unix(listener, path.clone())
            }
        };
        let tls = match (&socket, tls) {
            (Socket::Tcp(_), Some(tls)) => Some(tls::acceptor(tls)?),
            _ => None,
        };
        Ok(Self { socket, tls })
    }

    /// Where it listens: the port that was given where 0 was asked for.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Socket::Unix(_, path) => Ok(Address::Unix(path.clone())),
        }
    }

    /// The next client, before TLS is agreed on.
    async fn accept(&self) -> io::Result<(Raw, Option<SocketAddr>)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small answers go out at once.
                stream.set_nodelay(true)?;
                Ok((Raw::Tcp(stream, self.tls.clone()), Some(peer)))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Raw::Unix(stream), None))
            }
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket {
            // The next start removes what could not be removed here.
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes a socket that a server before left behind, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
            Err(_) => fs::remove_file(path),
        },
    }
}

/// A client that was accepted.
enum Raw {
    Tcp(TcpStream, Option<TlsAcceptor>),
    Unix(UnixStream),
}

impl Raw {
    /// Agrees on TLS where it is asked for.
    async fn ready(self) -> io::Result<Connection> {
        match self {
            Self::Unix(stream) => Ok(Connection::Unix(stream)),
            Self::Tcp(stream, None) => Ok(Connection::Tcp(stream)),
            Self::Tcp(stream, Some(tls)) => {
                let agreed = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await;
                let stream = agreed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                Ok(Connection::Tls(Box::new(stream)))
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
            Self::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
