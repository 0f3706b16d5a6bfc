//! Metrics, in the text format of Prometheus (OpenMetrics 1.0).

use super::meter::Meter;
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use kiln::port::{Fleet, Store};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long the state of things may take to be found for one answer.
const LOOK_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Asked {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Called {
    pub(super) op: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ended {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeState {
    state: &'static str,
}

/// Everything that is counted. Clones share it.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

pub(super) struct Inner {
    registry: Registry,
    requests: Family<Asked, Counter>,
    request_seconds: Family<NoLabels, Histogram>,
    pub(super) calls: Family<Called, Histogram, fn() -> Histogram>,
    pub(super) accepted: Counter,
    pub(super) finished: Family<Ended, Counter>,
    pub(super) log_bytes: Counter,
    unfinished: Gauge,
    nodes: Family<NodeState, Gauge>,
    resident: Gauge,
}

type NoLabels = Vec<(String, String)>;

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// 0.5 ms to 16 s.
fn seconds() -> Histogram {
    Histogram::new(std::iter::successors(Some(0.0005), |s| Some(s * 2.0)).take(16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kiln");
        let requests = Family::default();
        let request_seconds: Family<NoLabels, Histogram> = Family::new_with_constructor(seconds);
        let calls: Family<Called, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(seconds as fn() -> Histogram);
        let (accepted, log_bytes) = (Counter::default(), Counter::default());
        let finished = Family::default();
        let (unfinished, resident) = (Gauge::default(), Gauge::default());
        let nodes = Family::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", version);
        registry.register("http_requests", "Requests that were answered", requests.clone());
        registry.register_with_unit(
            "http_request",
            "Time to the beginning of an answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        registry.register_with_unit(
            "port",
            "Time of calls to stores, engines and the like",
            Unit::Seconds,
            calls.clone(),
        );
        registry.register("builds_accepted", "Builds accepted here", accepted.clone());
        registry.register("builds_finished", "Builds whose end was written here", finished.clone());
        registry.register_with_unit(
            "log",
            "Output of builds that was written here",
            Unit::Bytes,
            log_bytes.clone(),
        );
        registry.register("builds_unfinished", "Builds that wait or run", unfinished.clone());
        registry.register("nodes", "Nodes by state", nodes.clone());
        registry.register_with_unit("resident", "Memory in use", Unit::Bytes, resident.clone());
        Self(Arc::new(Inner {
            registry,
            requests,
            request_seconds,
            calls,
            accepted,
            finished,
            log_bytes,
            unfinished,
            nodes,
            resident,
        }))
    }
}

impl Metrics {
    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    /// What measures the calls of ports.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.clone())
    }

    /// Counts the requests to these routes.
    pub(crate) fn measure(&self, routes: Router) -> Router {
        routes.layer(middleware::from_fn_with_state(self.clone(), count))
    }

    /// `/metrics`, for those who may read it.
    pub(crate) fn routes(&self, store: Arc<dyn Store>, fleet: Arc<dyn Fleet>) -> Router {
        Router::new().route("/metrics", get(show)).with_state((self.clone(), store, fleet))
    }

    /// What is read off when it is asked for.
    async fn look(&self, store: &dyn Store, fleet: &dyn Fleet) -> kiln::Result<()> {
        let inner = &self.0;
        inner.unfinished.set(i64::try_from(store.unfinished().await?.len()).unwrap_or(i64::MAX));
        let nodes = fleet.nodes().await?;
        for state in ["open", "drained"] {
            let count = nodes.iter().filter(|n| n.drained == (state == "drained")).count();
            let gauge = inner.nodes.get_or_create(&NodeState { state });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Ok(())
    }
}

async fn count(
    State(metrics): State<Metrics>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    // Never the path itself: whoever asks could make as many as they like, of methods too.
    let route = route.map_or("none".to_owned(), |r| r.as_str().to_owned());
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE") => known,
        _ => "other",
    }
    .to_owned();
    let answer = next.run(request).await;
    let inner = metrics.inner();
    inner.request_seconds.get_or_create(&Vec::new()).observe(began.elapsed().as_secs_f64());
    let status = answer.status().as_u16();
    inner.requests.get_or_create(&Asked { method, route, status }).inc();
    answer
}

type Sources = (Metrics, Arc<dyn Store>, Arc<dyn Fleet>);

async fn show(State((metrics, store, fleet)): State<Sources>) -> Response {
    let inner = metrics.inner();
    // What cannot be found now keeps its last value: the rest is worth telling.
    match tokio::time::timeout(LOOK_MAX, metrics.look(&*store, &*fleet)).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(error = ?e, "metrics lack the state of things"),
        Err(_) => tracing::warn!("metrics lack the state of things: it took too long to find"),
    }
    if let Some(bytes) = resident_bytes() {
        inner.resident.set(bytes);
    }
    let mut text = String::new();
    if encode(&mut text, &inner.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The memory of this process that is in use, where the system tells it.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
