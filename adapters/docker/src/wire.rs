//! The way to the engine: one connection for each request, over a unix socket, TCP or TLS.
//!
//! The vendor client's own connectors would trust every authority of the system beside the one
//! that was configured, leave out a client certificate that cannot be read, and look for the
//! socket when they are made instead of when it is needed.

mod tls;

use crate::config::{DockerConfig, Host, TlsFiles};
use bollard::errors::Error as Vendor;
use hyper::{
    Request, Response, Uri,
    body::{Body, Incoming},
    client::conn::http1,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use std::{error::Error as StdError, io, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::OnceCell,
};
use tokio_rustls::TlsConnector;

/// How long reaching the engine may take, with the TLS handshake.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What goes wrong before an engine was asked. It travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// A file of certificates or keys is not usable.
    #[error("the certificates for the Docker engine cannot be used: {problem}")]
    Files {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The other side accepted the connection and does not go on, or does not even accept it.
    #[error("the Docker engine did not take the connection within {} s", CONNECT_TIME.as_secs())]
    Slow,
}

impl From<WireError> for Vendor {
    fn from(e: WireError) -> Self {
        Self::IOError { err: io::Error::other(e) }
    }
}

/// What a byte stream to an engine can do.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way to one engine. Nothing is opened or read before the first request.
pub(crate) struct Wire {
    host: Host,
    tls: Option<TlsFiles>,
    connector: OnceCell<TlsConnector>,
}

impl Wire {
    pub(crate) fn new(config: &DockerConfig) -> Self {
        let tls = match config.host {
            Host::Unix(_) => None,
            Host::Tcp(_) => config.tls.clone(),
        };
        Self { host: config.host.clone(), tls, connector: OnceCell::new() }
    }

    /// Sends a request, whose path counts and whose host does not. The connection ends with the
    /// body of the response.
    pub(crate) async fn send<B>(
        &self,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, Vendor>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        *request.uri_mut() = path.parse::<Uri>()?;
        request.headers_mut().insert(HOST, self.host_header()?);
        let stream = self.open().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the response, or when nobody wants that any more.
        let connection = tokio::spawn(connection.with_upgrades());
        match sender.send_request(request).await {
            Ok(response) => Ok(response),
            // The connection ended before the request, and knows why: an engine that does not take
            // our certificate says so after the handshake.
            Err(e) if e.is_canceled() => match connection.await {
                Ok(Err(reason)) => Err(reason.into()),
                _ => Err(e.into()),
            },
            Err(e) => Err(e.into()),
        }
    }

    /// A new connection, with TLS where that is configured.
    pub(crate) async fn open(&self) -> Result<Box<dyn Stream>, Vendor> {
        tokio::time::timeout(CONNECT_TIME, self.connect()).await.map_err(|_| WireError::Slow)?
    }

    /// How requests name the engine's host.
    pub(crate) fn host_header(&self) -> Result<HeaderValue, Vendor> {
        let host = match &self.host {
            Host::Unix(_) => "docker",
            Host::Tcp(address) => address,
        };
        HeaderValue::from_str(host).map_err(|e| Vendor::HttpClientError { err: e.into() })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Vendor> {
        match (&self.host, &self.tls) {
            (Host::Unix(path), _) => Ok(Box::new(UnixStream::connect(path).await?)),
            (Host::Tcp(address), None) => Ok(Box::new(tcp(address).await?)),
            (Host::Tcp(address), Some(files)) => {
                let connector = self.connector.get_or_try_init(|| tls::connector(files)).await?;
                let name = tls::name_of(address)?;
                let stream = tcp(address).await?;
                Ok(Box::new(connector.connect(name, stream).await?))
            }
        }
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("host", &self.host).field("tls", &self.tls).finish()
    }
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
