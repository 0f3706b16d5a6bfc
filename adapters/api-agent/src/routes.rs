//! The routes, and what is the same for all of them.

mod artifacts;
mod fleet;
mod index;
mod journal;
mod log;
mod queue;
mod secrets;

use crate::{
    access::{Access, Caller, Scope},
    fence::{self, Claim, Held},
    gate::Gate,
    problem::{Answer, Problem},
    version,
};
use axum::{
    Router,
    extract::{FromRequestParts, Query},
    http::{header, request::Parts},
    middleware,
    routing::{any, delete, get, post, put},
};
use kiln::{
    BuildId, Engine, Error, ErrorKind, Result, Toolbox,
    port::{Fleet, Queue},
};
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};

/// How long a request may wait for news; who has more patience asks again.
const PATIENCE_MAX: Duration = Duration::from_secs(50);

/// What agents work on.
#[derive(Clone, Debug)]
pub struct AgentApi {
    /// Has the store, the logs, the index, the artifacts and the secrets.
    pub engine: Engine,
    /// Where builds wait for whoever drives them.
    pub queue: Arc<dyn Queue>,
    /// Knows the nodes.
    pub fleet: Arc<dyn Fleet>,
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// How long no build is given out after the start of this process, or after the queue was out
    /// of reach, if builds were unfinished then: those that drive them renew their leases first.
    /// Agents renew every third of a lease; 15 s suits leases of 30 s.
    pub hold_back: Duration,
}

/// What the routes share.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Parted>);

#[derive(Debug)]
pub(crate) struct Parted {
    pub(crate) api: AgentApi,
    pub(crate) held: Held,
    pub(crate) gate: Gate,
}

impl std::ops::Deref for Shared {
    type Target = Parted;

    fn deref(&self) -> &Parted {
        &self.0
    }
}

impl Shared {
    pub(crate) fn tools(&self) -> &Toolbox {
        self.api.engine.tools()
    }
}

/// All routes of the API.
pub fn router(api: AgentApi) -> Router {
    let gate = Gate::new(api.hold_back);
    let shared = Shared(Arc::new(Parted { api, held: Held::default(), gate }));
    let build = |rest: &str| format!("/agent/v1/builds/{{build}}/{rest}");
    Router::new()
        .route("/agent/v1/lease", post(queue::lease))
        .route("/agent/v1/renew", post(queue::renew))
        .route("/agent/v1/settle", post(queue::settle))
        .route("/agent/v1/jobs", post(queue::push))
        .route("/agent/v1/jobs/{build}", delete(queue::remove))
        .route("/agent/v1/nodes", get(fleet::nodes))
        .route("/agent/v1/nodes/{node}", put(fleet::enrol).delete(fleet::remove))
        .route("/agent/v1/nodes/{node}/beat", post(fleet::beat))
        .route("/agent/v1/unfinished", get(journal::unfinished))
        .route(&build("journal"), get(journal::load).post(journal::append).delete(journal::forget))
        .route(&build("journal/wait"), get(journal::wait))
        .route(&build("log"), get(log::read).post(log::append).delete(log::forget))
        .route(&build("log/end"), get(log::end))
        .route(&build("log/close"), post(log::close))
        .route(&build("summary"), put(index::put).delete(index::forget))
        .route("/agent/v1/summaries", post(index::list))
        .route(&build("artifact"), get(artifacts::get).put(artifacts::put))
        .route(&build("artifacts"), get(artifacts::list).delete(artifacts::forget))
        .route("/agent/v1/caches", get(artifacts::caches))
        .route("/agent/v1/secret", post(secrets::reveal))
        .route("/agent/v1/{*rest}", any(missing))
        // Of these routes alone: others may be served beside them.
        .route_layer(middleware::from_fn(version::check))
        .with_state(shared)
}

async fn missing() -> Problem {
    Error::new(ErrorKind::NotFound, "agent", "there is no such route").into()
}

/// Who calls, which may be an agent, and the lease it shows.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) caller: Caller,
    pub(crate) claim: Option<Claim>,
}

impl Agent {
    pub(crate) fn is_admin(&self) -> bool {
        self.caller.scope == Scope::Admin
    }

    /// `Denied` unless the caller is an admin.
    pub(crate) fn expect_admin(&self) -> Result<()> {
        if self.is_admin() {
            return Ok(());
        }
        let message = "an agent may not do that";
        Err(Error::new(ErrorKind::Denied, "agent", message).with("needs", "admin"))
    }

    /// The build that a path names, if the caller may touch it.
    pub(crate) async fn build(&self, shared: &Shared, build: &str) -> Result<BuildId> {
        let build = id(build)?;
        shared.fence(&self.caller, &build, self.claim.as_ref()).await?;
        Ok(build)
    }

    /// The build that a path names, for an admin.
    pub(crate) fn any_build(&self, build: &str) -> Result<BuildId> {
        self.expect_admin()?;
        id(build)
    }
}

impl FromRequestParts<Shared> for Agent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Answer<Self> {
        let text = |name: &str| match parts.headers.get(name) {
            None => Ok(None),
            Some(value) => value.to_str().map(Some).map_err(|_| {
                Error::new(ErrorKind::Invalid, "agent", "a header is no text").with("header", name)
            }),
        };
        let token = match text(header::AUTHORIZATION.as_str())? {
            None => None,
            Some(value) => Some(bearer(value).ok_or_else(|| {
                let message = "the Authorization header is not `Bearer TOKEN`";
                Problem::of_caller(Error::new(ErrorKind::Denied, "Access", message))
            })?),
        };
        let caller = shared.api.access.caller(token).await.map_err(Problem::of_caller)?;
        if caller.scope == Scope::Other {
            let message = "the token is not one of an agent";
            return Err(Error::new(ErrorKind::Denied, "Access", message)
                .hint(
                    "Make one with the scope `agent`: kiln-server token create NAME --scope agent.",
                )
                .into());
        }
        let claim = match text(fence::HEADER)? {
            None => None,
            Some(shown) => Some(Claim::read(shown).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "agent", "the Kiln-Lease header is no lease")
            })?),
        };
        Ok(Self { caller, claim })
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn id(text: &str) -> Result<BuildId> {
    BuildId::new(text).map_err(|e| Error::new(ErrorKind::Invalid, "agent", e.to_string()))
}

/// What the query of a URL asks.
#[derive(Debug)]
pub(crate) struct Ask<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Ask<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Answer<Self> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(ask)) => Ok(Self(ask)),
            Err(e) => Err(Error::new(ErrorKind::Invalid, "agent", e.body_text()).into()),
        }
    }
}

/// Patience that was asked for, within the bound.
pub(crate) fn patience(ms: u64) -> Duration {
    Duration::from_millis(ms).min(PATIENCE_MAX)
}
