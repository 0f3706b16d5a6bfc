//! The running server: listeners, workers, and an orderly end.

use crate::{
    args::Set,
    compose,
    config::{Config, Source},
    guard,
    tokens::Tokens,
};
use axum::middleware;
use kiln::{
    CancelToken, Engine, Error, ErrorKind, NodeId, Resources, Result, StopReason, Worker,
    port::{Job, Node, Queue},
};
use kiln_api_native::{Access, Api, Everybody, router};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

fn wrong(message: &'static str, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Unexpected, "kiln-server", message).source(e)
}

pub(crate) async fn run(set: &Set) -> Result<()> {
    let config = Config::read(set, &Source::of_process())?;
    let filter = tracing_subscriber::EnvFilter::try_from_env("KILN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (engine, queue) = compose::compose(&config)?;
    let listener = TcpListener::bind(config.listen.native).await.map_err(|e| {
        wrong("the address cannot be listened on", e)
            .with("address", config.listen.native)
            .hint("Choose another with --listen, or stop who has it.")
    })?;
    let open = is_open(&config)?;
    let (stop, workers) = (CancelToken::new(), start_workers(&config, &engine, &queue)?);
    let mut driven = JoinSet::new();
    for worker in workers {
        let stop = stop.clone();
        driven.spawn(async move { worker.run(stop).await });
    }
    requeue(&engine, &*queue).await?;
    let access: Arc<dyn Access> =
        if open { Arc::new(Everybody) } else { Arc::new(Tokens::of(&config.data)) };
    let mut routes = router(Api { engine, queue, access });
    if open {
        routes = routes.layer(middleware::from_fn(guard::local_only));
    }
    let address = listener.local_addr().map_err(|e| wrong("the listener is gone", e))?;
    tracing::info!(%address, open, data = %config.data.display(), "ready");
    let (ended, told) = (stop.clone(), signalled()?);
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
        ended.cancelled().await;
    });
    let server = tokio::spawn(async move { server.await });
    tokio::select! {
        () = told => {}
        Some(Err(e)) = driven.join_next() => return Err(wrong("a worker died", e)),
    }
    drain(&config, &stop, driven, server).await
}

/// Whether no token is needed: on a listener that only this machine reaches, as long as there are
/// no tokens. `Invalid` if others could reach it.
fn is_open(config: &Config) -> Result<bool> {
    let any = !Tokens::of(&config.data).list()?.is_empty();
    let loopback = config.listen.native.ip().is_loopback();
    if !any && !loopback {
        let message = "a listener that other machines reach needs tokens, and there are none";
        return Err(Error::new(ErrorKind::Invalid, "kiln-server", message)
            .with("address", config.listen.native)
            .hint("Make one: kiln-server token create NAME --scope admin."));
    }
    Ok(!any)
}

fn start_workers(config: &Config, engine: &Engine, queue: &Arc<dyn Queue>) -> Result<Vec<Worker>> {
    let id = NodeId::new("local").map_err(|e| wrong("a node has no name", e.to_string()))?;
    let node = Node {
        id,
        labels: BTreeMap::new(),
        slots: config.slots,
        resources: Resources::default(),
        drained: false,
        seen_at: engine.tools().clock.now(),
    };
    let worker = || Worker::new(engine.clone(), queue.clone(), node.clone());
    Ok((0..config.slots).map(|_| worker()).collect())
}

/// Gives every build that is not finished its turn: those that were interrupted, and those that
/// were accepted and not queued before the last end.
async fn requeue(engine: &Engine, queue: &dyn Queue) -> Result<()> {
    for build in engine.unfinished().await? {
        let state = engine.state(&build).await?;
        let placement = state.plan().placement();
        let job = Job { placement, ..Job::new(build.clone(), state.owner().clone()) };
        tracing::info!(%build, "goes on");
        queue.push(job).await?;
    }
    for build in engine.tidy().await? {
        tracing::info!(%build, "cleaned up after");
    }
    Ok(())
}

fn signalled() -> Result<impl Future<Output = ()>> {
    let wait = |kind| signal(kind).map_err(|e| wrong("signals cannot be heard", e));
    let (mut terminate, mut interrupt) =
        (wait(SignalKind::terminate())?, wait(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Takes nothing new and lets what runs come to its end. What takes too long is left as after a
/// crash: the next start goes on with it.
async fn drain(
    config: &Config,
    stop: &CancelToken,
    mut driven: JoinSet<Result<()>>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
) -> Result<()> {
    tracing::info!(seconds = config.drain_seconds, "draining");
    stop.cancel(StopReason::Cancel);
    let all = async { while driven.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(config.drain_seconds), all).await.is_err() {
        tracing::warn!("builds are left to the next start");
        driven.shutdown().await;
    }
    // Followers of logs end with their builds, and those of other builds come again elsewhere.
    let abort = server.abort_handle();
    if tokio::time::timeout(Duration::from_secs(2), server).await.is_err() {
        abort.abort();
    }
    Ok(())
}
