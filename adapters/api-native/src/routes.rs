//! The routes, and what is the same for all of them.

mod artifacts;
mod builds;
mod contexts;
mod document;
mod logs;
mod nodes;
mod repeat;
mod socket;
mod sources;
mod state;
mod tokens;

pub use document::openapi;

use crate::{
    access::{Access, Caller, Scope},
    limits::{self, Limits},
    problem::Problem,
    settings::Settings,
    tokens::TokenBook,
};
use axum::{
    Router,
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, header, request::Parts},
    routing::any,
};
use kiln::{
    BuildId, BuildView, CancelToken, Engine, Error, ErrorKind, Result,
    memory::MemoryFleet,
    port::{Fleet, Queue},
};
use std::sync::Arc;
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How many pages of logs are read side by side.
const READS_MAX: usize = 32;

/// What the API works on.
#[derive(Clone, Debug)]
pub struct Api {
    pub(crate) engine: Engine,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) access: Arc<dyn Access>,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) tokens: Option<Arc<dyn TokenBook>>,
    pub(crate) settings: Settings,
    pub(crate) limits: Arc<Limits>,
    pub(crate) until: CancelToken,
    /// Whose turn it is to read a page of a log.
    pub(crate) turns: Arc<Semaphore>,
}

impl Api {
    /// An API over an engine that accepts builds and tells of them, a queue in which they wait for
    /// whoever drives them, and what says who may do what. It knows no nodes and keeps no tokens
    /// until it is given what does.
    pub fn new(engine: Engine, queue: Arc<dyn Queue>, access: Arc<dyn Access>) -> Self {
        let settings = Settings::default();
        Self {
            engine,
            queue,
            access,
            fleet: Arc::new(MemoryFleet::default()),
            tokens: None,
            settings,
            limits: Arc::new(Limits::new(&settings)),
            until: CancelToken::new(),
            turns: Arc::new(Semaphore::new(READS_MAX)),
        }
    }

    /// Lists, drains and removes the nodes of this fleet.
    #[must_use]
    pub fn fleet(mut self, fleet: Arc<dyn Fleet>) -> Self {
        self.fleet = fleet;
        self
    }

    /// Lists, makes and removes tokens of this book.
    #[must_use]
    pub fn tokens(mut self, tokens: Arc<dyn TokenBook>) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Changes its bounds.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self.limits = Arc::new(Limits::new(&settings));
        self
    }

    /// Ends what goes on for long, such as the following of a log, when this token is cancelled.
    /// Clients can tell it from the end of the log, and go on elsewhere or later.
    #[must_use]
    pub fn until(mut self, stop: CancelToken) -> Self {
        self.until = stop;
        self
    }

    /// A build of the caller's; one of somebody else's is not there.
    async fn view(&self, caller: &Caller, build: &str) -> Result<BuildView> {
        let view = self.engine.view(&id(build)?).await?;
        if caller.is_admin() || view.summary.owner == caller.owner {
            return Ok(view);
        }
        Err(unknown(build))
    }

    async fn expect(&self, caller: &Caller, scope: Scope, build: &str) -> Result<BuildView> {
        caller.expect(scope)?;
        self.view(caller, build).await
    }
}

/// All routes of the API.
pub fn router(api: Api) -> Router {
    let (routes, _) = documented().split_for_parts();
    let missing =
        async || Problem::from(Error::new(ErrorKind::NotFound, "route", "there is no such route"));
    let other = async || {
        let error = Error::new(ErrorKind::Invalid, "route", "the route takes no such method");
        Problem::new(error, StatusCode::METHOD_NOT_ALLOWED)
    };
    routes.method_not_allowed_fallback(other).route("/api/{*rest}", any(missing)).with_state(api)
}

/// The routes with what the OpenAPI document says of them. There are no others.
fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(document::head())
        .routes(routes!(builds::submit, builds::list))
        .routes(routes!(builds::show))
        .routes(routes!(builds::journal))
        .routes(routes!(builds::cancel))
        .routes(routes!(repeat::retry))
        .routes(routes!(logs::read))
        .routes(routes!(socket::follow))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::fetch))
        .routes(routes!(contexts::upload))
        .routes(routes!(sources::verify))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show, nodes::remove))
        .routes(routes!(nodes::drain))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(state::who_am_i))
        .routes(routes!(state::document))
        .routes(routes!(state::health))
        .routes(routes!(state::ready))
}

impl<S> FromRequestParts<S> for Caller
where
    Api: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let api = Api::from_ref(state);
        let (peer, now) = (limits::peer(&parts.extensions), api.engine.tools().clock.now());
        let token = match parts.headers.get(header::AUTHORIZATION).map(|h| h.to_str()) {
            None => Ok(None),
            Some(Ok(text)) => bearer(text).map(Some),
            Some(Err(_)) => Err(bad_header()),
        };
        let shown = token.as_ref().ok().copied().flatten();
        let wait = |wait| Problem::too_many("too many requests without a good token", wait);
        api.limits.knock(&peer, shown, now).map_err(wait)?;
        let caller = match token {
            Ok(token) => api.access.caller(token).await,
            Err(e) => Err(e),
        };
        let caller = caller.map_err(|e| {
            if e.kind() == ErrorKind::Denied {
                api.limits.failed(&peer, now);
                tracing::info!(target: "kiln::audit", peer, error = %e, what = "refused");
            }
            Problem::of_caller(e)
        })?;
        let wait = |wait| Problem::too_many("too many requests with this token", wait);
        api.limits.request(&caller, shown, now).map_err(wait)?;
        Ok(caller)
    }
}

fn bearer(header: &str) -> Result<&str> {
    let (scheme, token) = header.split_once(' ').ok_or_else(bad_header)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(bad_header());
    }
    Ok(token.trim())
}

fn bad_header() -> Error {
    Error::new(ErrorKind::Denied, "Access", "the Authorization header is not `Bearer TOKEN`")
}

fn id(text: &str) -> Result<BuildId> {
    BuildId::new(text).map_err(|_| unknown(text))
}

fn unknown(build: &str) -> Error {
    let build: String = build.chars().take(64).collect();
    Error::new(ErrorKind::NotFound, "Store::load", "there is no such build").with("build", build)
}
