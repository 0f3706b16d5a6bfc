//! One connection: TCP, TLS where asked for, login, and what becomes of its end.

use crate::{
    config::RedisConfig,
    error::{handshake, translate, unreachable, untrusted},
};
use kiln::Result;
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, RedisError,
    aio::{MultiplexedConnection, SendError},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// How connections are made.
#[derive(Clone)]
pub(crate) struct Dialler {
    address: (String, u16),
    tls: Option<(TlsConnector, ServerName<'static>)>,
    login: RedisConnectionInfo,
    timeout: Duration,
}

/// A connection, and whether it has ended.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) connection: MultiplexedConnection,
    gone: Arc<AtomicBool>,
}

impl Line {
    /// Whether the other side has ended it.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn ask<T: FromRedisValue>(
        &mut self,
        op: &'static str,
        cmd: &Cmd,
    ) -> Result<T> {
        cmd.query_async(&mut self.connection).await.map_err(|e| translate(op, &e))
    }
}

impl Dialler {
    pub(crate) fn new(config: &RedisConfig) -> Result<Self> {
        let tls = if config.tls { Some(tls(config)?) } else { None };
        let mut login = RedisConnectionInfo::default()
            // With it the server says at once that a connection ends, and brings news between answers.
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(i64::from(config.database))
            .set_skip_set_lib_name();
        if let Some(password) = config.password.as_ref().and_then(|p| p.expose_str()) {
            login = login.set_password(password);
        }
        if let Some(user) = &config.user {
            login = login.set_username(user);
        }
        let address = (config.host.clone(), config.port);
        Ok(Self { address, tls, login, timeout: config.timeout })
    }

    /// Makes a connection. What it pushes goes to `news`.
    pub(crate) async fn dial(
        &self,
        news: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> Result<Line, RedisError> {
        let dialled = timeout(self.timeout, self.dial_for_ever(news)).await;
        dialled.unwrap_or_else(|_| Err(unreachable(io::ErrorKind::TimedOut.into())))
    }

    async fn dial_for_ever(
        &self,
        news: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> Result<Line, RedisError> {
        let (host, port) = (self.address.0.as_str(), self.address.1);
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        match &self.tls {
            None => self.log_in(stream, news).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(handshake)?;
                self.log_in(stream, news).await
            }
        }
    }

    async fn log_in(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        news: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> Result<Line, RedisError> {
        let gone = Arc::new(AtomicBool::new(false));
        let ended = gone.clone();
        let hear = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                ended.store(true, Ordering::Release);
            }
            match &news {
                Some(news) => news.send(push).map_err(|_| SendError),
                None => Ok(()),
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.timeout))
            .set_pipeline_buffer_size(1024)
            .set_push_sender(hear);
        let opened = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (connection, driver) = opened?;
        // It ends with the connection, or with its last clone.
        tokio::spawn(driver);
        Ok(Line { connection, gone })
    }
}

/// TLS with a provider that is named here, whatever else is in the process.
fn tls(config: &RedisConfig) -> Result<(TlsConnector, ServerName<'static>)> {
    const OP: &str = "Redis::connect";
    let mut roots = RootCertStore::empty();
    match &config.authority {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| untrusted(OP, e))?;
                roots.add(certificate).map_err(|e| untrusted(OP, e))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(untrusted(OP, "there is none"));
    }
    let client = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|e| untrusted(OP, e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(config.host.clone()).map_err(|e| untrusted(OP, e))?;
    Ok((TlsConnector::from(Arc::new(client)), name))
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialler").field("address", &self.address).finish_non_exhaustive()
    }
}
