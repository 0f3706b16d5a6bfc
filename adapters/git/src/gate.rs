//! The way out: libgit2 speaks to a port of this host only, and what listens there speaks to the
//! world.
//!
//! libgit2 resolves names itself, follows redirects, waits for ever for a silent server and asks
//! its callbacks only when bytes arrive. Behind a gate of our own, the address that was checked is
//! the address that is reached, each redirect is judged, a silence ends, received bytes are
//! counted, and closing the gate ends whatever libgit2 waits for. Credentials never reach libgit2.

mod advert;
mod connect;
mod dial;
mod http;
mod pace;
mod ssh;
mod status;
mod trust;

use crate::{
    GitConfig,
    auth::Auth,
    error,
    url::{GitUrl, Scheme},
};
use kiln::{Error, ErrorKind, Result};
use pace::Pace;
use std::{
    net::{Ipv4Addr, Shutdown, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) use trust::Trust;

/// How many bytes a fetch may still receive, counted over all of its gates.
#[derive(Debug)]
pub(crate) struct Budget {
    received: AtomicU64,
    max: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { received: AtomicU64::new(0), max })
    }

    /// Counts bytes in; false once there are too many.
    fn take(&self, bytes: usize) -> bool {
        let before = self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        before.saturating_add(bytes as u64) <= self.max
    }
}

/// An open gate to one repository. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Gate {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What all connections of a gate share.
#[derive(Debug)]
struct Shared {
    op: &'static str,
    config: Arc<GitConfig>,
    trust: Arc<Trust>,
    budget: Arc<Budget>,
    token: String,
    failure: Mutex<Option<Error>>,
    closed: AtomicBool,
    /// Sockets that a thread may be waiting on.
    sockets: Mutex<Vec<TcpStream>>,
}

/// What a gate is opened with.
#[derive(Clone, Debug)]
pub(crate) struct GateKeys {
    pub(crate) op: &'static str,
    pub(crate) config: Arc<GitConfig>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) budget: Arc<Budget>,
}

impl Gate {
    /// Opens a gate to a repository that is not a path.
    pub(crate) async fn open(keys: GateKeys, url: &GitUrl, auth: Auth) -> Result<Self> {
        let GateKeys { op, config, trust, budget } = keys;
        let io = |e| error::io(op, "opening a local port", e);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(io)?;
        let port = listener.local_addr().map_err(io)?.port();
        let shared = Arc::new(Shared {
            op,
            config,
            trust,
            budget,
            token: token(),
            failure: Mutex::default(),
            closed: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let (scheme, task) = match url.scheme() {
            Scheme::Https | Scheme::Http => {
                let upstream = http::Upstream::new(shared.clone(), url, auth)?;
                ("http", tokio::spawn(http::serve(listener, Arc::new(upstream))))
            }
            Scheme::Ssh => {
                ("git", tokio::spawn(ssh::serve(listener, shared.clone(), url.clone(), auth)))
            }
            Scheme::Path => unreachable!("a path needs no gate"),
        };
        let url = format!("{scheme}://127.0.0.1:{port}/{}", shared.token);
        Ok(Self { url, shared, task })
    }

    /// What libgit2 is to open.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What a thread looks at.
    pub(crate) fn health(&self) -> Health {
        Health(self.shared.clone())
    }

    /// Why libgit2 failed, where the gate knows better.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.shared.failure().take()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.close();
    }
}

impl Shared {
    fn failure(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers why it cannot go on. The first reason stays.
    fn fail(&self, e: Error) {
        self.failure().get_or_insert(e);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for socket in self.sockets().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a socket shut down when the gate closes.
    fn watch(&self, socket: &TcpStream) -> std::io::Result<()> {
        self.sockets().push(socket.try_clone()?);
        if self.is_closed() {
            self.close();
        }
        Ok(())
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, self.op, message)
    }

    fn too_much(&self) -> Error {
        let message = format!("more than {} bytes were sent", self.config.bytes_max);
        self.error(ErrorKind::Exhausted, message)
            .hint("Fetch less, or raise the limit of received bytes.")
    }

    /// Why a server is given up that was waited for.
    fn too_slow(&self, pace: &Pace) -> Error {
        if pace.heard() == 0 {
            return self.silent();
        }
        let (bytes, seconds) = (pace.heard(), self.config.server_timeout.as_secs_f32());
        let message = format!("the server sent no more than {bytes} bytes in {seconds} seconds");
        self.error(ErrorKind::Unavailable, message)
    }

    /// The refusal of a repository whose ids are not SHA-1.
    fn strange(&self) -> Error {
        error::sha256(self.op)
    }

    fn silent(&self) -> Error {
        let seconds = self.config.server_timeout.as_secs_f32();
        self.error(ErrorKind::Unavailable, format!("the server was silent for {seconds} seconds"))
    }
}

/// What tells our own libgit2 from whoever else finds the port.
fn token() -> String {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the operating system always has random bits");
    bits.iter().map(|b| format!("{b:02x}")).collect()
}

/// Tells a thread whether its gate has given up.
#[derive(Clone, Debug)]
pub(crate) struct Health(Arc<Shared>);

impl Health {
    pub(crate) fn has_failed(&self) -> bool {
        self.0.is_closed() || self.0.failure().is_some()
    }
}
