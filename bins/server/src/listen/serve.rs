//! Serving HTTP to those who connect.

use super::Bound;
use axum::{Router, extract::ConnectInfo};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use kiln::CancelToken;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// How many bytes of an answer wait for a client, and how long the head of a request may be.
const BUFFER_BYTES: usize = 64 << 10;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many connections there may be; more wait until one ends.
    pub(crate) connections: usize,
    /// How long a client may take to say what it wants.
    pub(crate) header: Duration,
    /// How long connections have to end after the listener was told to stop.
    pub(crate) end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, header: Duration::from_secs(15), end: Duration::from_secs(2) }
    }
}

/// Serves until the token is cancelled; then takes nobody new and lets requests come to their end,
/// for a while: followers of logs come again elsewhere.
pub(crate) async fn serve(bound: Bound, routes: Router, stop: CancelToken, limits: Limits) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let ending = GracefulShutdown::new();
    loop {
        let next = async {
            // Never closed, so this waits for room and nothing else.
            let place = room.clone().acquire_owned().await;
            (place, bound.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.cancelled() => break,
            next = next => next,
        };
        let (raw, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                pause(&e).await;
                continue;
            }
        };
        let (routes, watcher) = (routes.clone(), ending.watcher());
        tokio::spawn(async move {
            let _place = place;
            let connection = match raw.ready().await {
                Ok(connection) => connection,
                Err(e) => return tracing::debug!(?peer, error = %e, "no connection"),
            };
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                if let Some(peer) = peer {
                    request.extensions_mut().insert(ConnectInfo(peer));
                }
                routes.clone().oneshot(request)
            });
            let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
            http.http1()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header)
                // Those who read slowly are many, and each has such a buffer.
                .max_buf_size(BUFFER_BYTES);
            let connection =
                http.serve_connection_with_upgrades(TokioIo::new(connection), service).into_owned();
            if let Err(e) = watcher.watch(connection).await {
                tracing::debug!(?peer, error = %e, "a connection ended early");
            }
        });
    }
    drop(bound);
    if tokio::time::timeout(limits.end, ending.shutdown()).await.is_err() {
        tracing::info!("connections are cut");
    }
}

/// A client that went away again is nobody's trouble; no more files to be had is, and passes.
async fn pause(e: &io::Error) {
    let gone = matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !gone {
        tracing::warn!(error = %e, "nobody can be accepted just now");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
