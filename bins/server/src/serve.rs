//! The running server: listeners, workers, and an orderly end.

use crate::{
    archive,
    args::Set,
    compose::{self, Parts},
    config::{Config, Source},
    guard,
    listen::{self, Address, Bound},
    requeue, retention, telemetry,
    tokens::{Door, Tokens},
};
use axum::{Router, middleware};
use kiln::{CancelToken, Error, ErrorKind, Result, StopReason};
use kiln_api_agent::AgentApi;
use kiln_api_forge::Hooks;
use kiln_api_native::{Access, Api, router};
use std::{sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

/// No upload takes longer.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn wrong(message: &'static str, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Unexpected, "kiln-server", message).source(e)
}

/// The listeners that the settings ask for.
struct Listeners {
    native: Bound,
    agent: Option<Bound>,
    metrics: Option<Bound>,
}

impl Listeners {
    async fn bind(config: &Config, open: bool) -> Result<Self> {
        let (listen, tls) = (&config.listen, config.tls.as_ref());
        let maybe = async |address: &Option<Address>, open| match address {
            Some(address) => Bound::to(address, tls, open).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            native: Bound::to(&listen.native, tls, open).await?,
            agent: maybe(&listen.agent, open).await?,
            metrics: maybe(&listen.metrics, true).await?,
        })
    }
}

pub(crate) async fn run(set: &Set) -> Result<()> {
    let config = Config::read(set, &Source::of_process())?;
    let _telemetry = telemetry::start(&config.telemetry)?;
    let open = is_open(&config)?;
    // Before anything is opened: an address that is taken is the commonest mistake.
    let Listeners { native, agent, metrics } = Listeners::bind(&config, open).await?;
    let parts = compose::compose(&config).await?;
    let (stop, end) = (CancelToken::new(), CancelToken::new());
    let mut driven = JoinSet::new();
    for member in parts.members.clone() {
        driven.spawn(member.run(stop.clone()));
    }
    let beside = beside(&config, &parts, &stop);
    let routes = Routes::of(&config, &parts, &stop)?;
    // Before anybody is told that we are ready, and could tell us to stop.
    let told = signalled()?;
    tell(&config, &native, open)?;
    let mut servers = JoinSet::new();
    let mut serve = |bound: Bound, routes: Router| {
        servers.spawn(listen::serve(bound, routes, end.clone(), listen::Limits::default()));
    };
    match agent {
        Some(bound) => {
            serve(native, routes.native);
            serve(bound, routes.agents);
        }
        None => serve(native, routes.native.merge(routes.agents)),
    }
    if let Some(bound) = metrics {
        serve(bound, routes.metrics);
    }
    tokio::select! {
        () = told => {}
        Some(ended) = driven.join_next() => {
            let ended = ended.unwrap_or_else(|e| Err(wrong("a node died", e)));
            return Err(ended.err().unwrap_or_else(|| wrong("a node ended", "without a word")));
        }
    }
    drain(&config, &stop, driven).await;
    end.cancel(StopReason::Cancel);
    while servers.join_next().await.is_some() {}
    drop(beside);
    Ok(())
}

/// What is served, with all that is asked of a request.
struct Routes {
    native: Router,
    agents: Router,
    metrics: Router,
}

impl Routes {
    fn of(config: &Config, parts: &Parts, stop: &CancelToken) -> Result<Self> {
        let tokens = Tokens::of(&config.data);
        let door = Door::of(tokens.clone(), far(config).is_none());
        let Parts { engine, queue, fleet, metrics, .. } = parts;
        let api = Api::new(engine.clone(), queue.clone(), Arc::new(door.clone()))
            .fleet(fleet.clone())
            .tokens(Arc::new(tokens))
            .until(stop.clone());
        let agents = kiln_api_agent::router(AgentApi {
            engine: engine.clone(),
            queue: queue.clone(),
            fleet: fleet.clone(),
            access: Arc::new(door.clone()),
            hold_back: compose::HOLD_BACK,
        });
        let hooks = Hooks::new(engine.clone(), queue.clone(), config.hooks.clone())?;
        let guard = middleware::from_fn_with_state(door.clone(), guard::local_only);
        // Forges come from outside, by any name: a signature is what they are known by.
        let native = router(api).layer(guard.clone()).merge(kiln_api_forge::router(hooks));
        let mut shown = metrics.routes(engine.tools().store.clone(), fleet.clone());
        if config.listen.metrics.as_ref().is_some_and(|address| !address.is_local()) {
            let access: Arc<dyn Access> = Arc::new(door);
            shown = shown.layer(middleware::from_fn_with_state(access, guard::readers_only));
        }
        Ok(Self {
            native: metrics.measure(native),
            agents: metrics.measure(agents.layer(guard)),
            metrics: shown,
        })
    }
}

/// What goes on beside serving and driving; ends when it is dropped.
fn beside(config: &Config, parts: &Parts, stop: &CancelToken) -> JoinSet<()> {
    let mut beside = JoinSet::new();
    let (engine, queue) = (parts.engine.clone(), parts.queue.clone());
    beside.spawn(requeue::keep(engine, queue, stop.clone()));
    for member in parts.members.clone() {
        beside.spawn(async move {
            match member.engine.tidy().await {
                Ok(builds) => {
                    for build in builds {
                        tracing::info!(%build, "cleaned up after");
                    }
                }
                Err(e) => tracing::warn!(error = ?e, "not everything was cleaned up"),
            }
        });
    }
    if let Some((hot, logs)) = parts.archive.clone() {
        beside.spawn(archive::keep(parts.engine.clone(), hot, logs));
    }
    if let Some(courier) = parts.courier.clone() {
        let stop = stop.clone();
        beside.spawn(async move {
            if let Err(e) = courier.run(stop).await {
                tracing::error!(error = ?e, "nobody is told any more until the next start");
            }
        });
    }
    if let Some(bucket) = parts.bucket.clone() {
        beside.spawn(sweep(bucket));
    }
    if config.retention.is_limited() {
        beside.spawn(retention::keep(config.clone(), parts.engine.clone(), parts.room.clone()));
    }
    beside.spawn(retention::keep_caches(config.clone(), parts.engine.clone()));
    beside
}

/// Takes away what uploads of killed processes left in the bucket, once a day.
async fn sweep(bucket: kiln_s3::S3Artifacts) {
    loop {
        match bucket.sweep(DAY).await {
            Ok(swept) if swept.bytes > 0 => tracing::info!(?swept, "left behind by uploads"),
            Ok(_) => {}
            Err(e) => tracing::warn!(error = ?e, "the bucket was not swept"),
        }
        tokio::time::sleep(DAY).await;
    }
}

/// The one line that says where to go; scripts wait for it.
fn tell(config: &Config, native: &Bound, open: bool) -> Result<()> {
    let address = native.address().map_err(|e| wrong("the listener is gone", e))?;
    let store = config.store.place()?.map_or("sqlite".to_owned(), |p| p.to_string());
    let tls = config.tls.is_some();
    tracing::info!(%address, tls, open, data = %config.data.display(), store, "ready");
    if config.slots == 0 && config.pool.is_empty() {
        tracing::info!("this server drives no builds: agents have to");
    }
    Ok(())
}

/// A listener that other machines reach, if there is one.
fn far(config: &Config) -> Option<&Address> {
    let listen = &config.listen;
    let listen = [Some(&listen.native), listen.agent.as_ref(), listen.metrics.as_ref()];
    listen.into_iter().flatten().find(|address| !address.is_local())
}

/// Whether no token is needed now. `Invalid` if others could reach a listener and there is none.
fn is_open(config: &Config) -> Result<bool> {
    let any = !Tokens::of(&config.data).list()?.is_empty();
    match far(config) {
        Some(address) if !any => {
            let message = "a listener that other machines reach needs tokens, and there are none";
            Err(Error::new(ErrorKind::Invalid, "kiln-server", message)
                .with("address", address)
                .hint("Make one: kiln-server token create NAME --scope admin."))
        }
        _ => Ok(!any),
    }
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
async fn drain(config: &Config, stop: &CancelToken, mut driven: JoinSet<Result<()>>) {
    tracing::info!(seconds = config.drain_seconds, "draining");
    stop.cancel(StopReason::Cancel);
    let all = async { while driven.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(config.drain_seconds), all).await.is_err() {
        tracing::warn!("builds are left to the next start");
        driven.shutdown().await;
    }
}
