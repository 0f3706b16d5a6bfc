//! The routes, and what is the same for all of them.

mod builds;
mod logs;

use crate::{
    access::{Access, Caller, Scope},
    problem::Problem,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRef, FromRequestParts, State},
    http::{header, request::Parts},
    routing::{get, post},
};
use kiln::{BuildId, BuildView, Engine, Error, ErrorKind, Result, port::Queue};
use std::sync::Arc;

/// How large the body of a request may be. Contexts come another way.
const BODY_MAX: usize = 4 << 20;

/// What the API works on.
#[derive(Clone, Debug)]
pub struct Api {
    /// Accepts builds and tells of them.
    pub engine: Engine,
    /// Where accepted builds wait for whoever drives them.
    pub queue: Arc<dyn Queue>,
    /// Who may do what.
    pub access: Arc<dyn Access>,
}

/// All routes of the API.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/builds", post(builds::submit).get(builds::list))
        .route("/api/v1/builds/{build}", get(builds::show))
        .route("/api/v1/builds/{build}/journal", get(builds::journal))
        .route("/api/v1/builds/{build}/cancel", post(builds::cancel))
        .route("/api/v1/builds/{build}/retry", post(builds::retry))
        .route("/api/v1/builds/{build}/logs", get(logs::read))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(api)
}

/// Whether builds can be taken and kept; which part cannot, if not.
async fn ready(State(api): State<Api>) -> Result<Json<serde_json::Value>, Problem> {
    api.engine.unfinished().await?;
    Ok(Json(serde_json::json!({ "ready": true })))
}

impl<S> FromRequestParts<S> for Caller
where
    Api: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION).map(|h| h.to_str());
        let token = match header {
            None => None,
            Some(Ok(text)) => Some(bearer(text).map_err(Problem::of_caller)?),
            Some(Err(_)) => return Err(Problem::of_caller(bad_header())),
        };
        let api = Api::from_ref(state);
        api.access.caller(token).await.map_err(Problem::of_caller)
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

impl Api {
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

fn id(text: &str) -> Result<BuildId> {
    BuildId::new(text).map_err(|_| unknown(text))
}

fn unknown(build: &str) -> Error {
    let build: String = build.chars().take(64).collect();
    Error::new(ErrorKind::NotFound, "Store::load", "there is no such build").with("build", build)
}
