//! The one route.

use crate::{
    accept::{accept, build_id},
    config::{Forge, HookConfig},
    hook::{Heard, Hook},
    plan::plan,
    problem::Problem,
    signature::{Forged, one, verify},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use kiln::{Engine, Result, port::Queue};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How large a payload may be. It is read before it is known who sent it.
const BODY_MAX: usize = 5 << 20;
/// How long the payload may take to come. GitHub gives up after 10 s itself.
const BODY_TIME: Duration = Duration::from_secs(15);

/// What the hooks work on.
#[derive(Clone, Debug)]
pub struct Hooks {
    engine: Engine,
    queue: Arc<dyn Queue>,
    hooks: Arc<BTreeMap<String, Hook>>,
}

impl Hooks {
    /// Checks the hooks of a server, by their names; `Invalid` says what is wrong with which.
    ///
    /// The secrets of a hook are asked of the engine's, for the owner of the hook, each time.
    pub fn new(
        engine: Engine,
        queue: Arc<dyn Queue>,
        hooks: BTreeMap<String, HookConfig>,
    ) -> Result<Self> {
        let hook = |(name, config): (String, HookConfig)| {
            let hook = Hook::new(&name, config)?;
            Ok((name, hook))
        };
        let hooks = hooks.into_iter().map(hook).collect::<Result<_>>()?;
        Ok(Self { engine, queue, hooks: Arc::new(hooks) })
    }
}

/// `POST /hooks/{name}`. It asks for no token: a request is known by its signature.
pub fn router(hooks: Hooks) -> Router {
    Router::new()
        .route("/hooks/{name}", post(take))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(hooks)
}

async fn take(
    State(hooks): State<Hooks>,
    Path(name): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "there is no such hook");
    let hook = hooks.hooks.get(&name).ok_or_else(unknown)?;
    let body = read(&hooks, request).await?;
    let tools = hooks.engine.tools();
    let secret = tools.secrets.reveal(&hook.config.owner, &hook.config.secret).await?;
    verify(hook.config.forge, &secret, &headers, &body, tools.clock.now()).map_err(forged)?;
    let event = event(hook.config.forge, &headers)?;
    let heard = hook.hear(event, &body).map_err(|e| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the payload cannot be read: {e}"))
    })?;
    let change = match heard {
        Heard::Ping => return Ok(Json(json!({ "pong": true })).into_response()),
        Heard::Ignored(why) => return Ok(ignored(why)),
        Heard::Change(change) => change,
    };
    if let Some(why) = hook.filter.refuses(&change) {
        return Ok(ignored(why));
    }
    let plan = match plan(hook, &change)? {
        Ok(plan) => plan,
        Err(why) => return Ok(ignored(why)),
    };
    let id = build_id(hook, delivery(hook.config.forge, &headers)?, &body)?;
    let made = accept(&hooks.engine, &*hooks.queue, hook, &change, plan, &id).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({ "build": id, "made": made }))).into_response())
}

fn ignored(why: &str) -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "ignored": why }))).into_response()
}

fn forged(_: Forged) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "the request is not signed as it should be")
}

/// The raw body: bounded in its size and in its time.
async fn read(hooks: &Hooks, request: Request) -> Result<Bytes, Problem> {
    let json = request.headers().get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok());
    let is_json = json.is_some_and(|t| {
        t.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        let detail = "set the content type of the webhook to application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = Bytes::from_request(request, &()).boxed();
    match select(body, hooks.engine.tools().clock.sleep(BODY_TIME)).await {
        Either::Left((Ok(body), _)) => Ok(body),
        Either::Left((Err(e), _)) => Err(Problem::new(e.status(), e.body_text())),
        Either::Right(_) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the payload took too long"))
        }
    }
}

fn event(forge: Forge, headers: &HeaderMap) -> Result<&str, Problem> {
    let name = match forge {
        Forge::GitHub => "x-github-event",
        Forge::GitLab => "x-gitlab-event",
        Forge::Gitea => "x-gitea-event",
    };
    one(headers, name).map_err(forged)?.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, format!("there is no header `{name}`"))
    })
}

/// The id of a delivery, where it counts: see [`build_id`].
fn delivery(forge: Forge, headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    if forge != Forge::GitLab {
        return Ok(None);
    }
    for name in ["webhook-id", "idempotency-key", "x-gitlab-event-uuid"] {
        if let Some(id) = one(headers, name).map_err(forged)? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}
