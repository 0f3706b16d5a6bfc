//! How builds are accepted, and accepted again.

use super::{
    Api,
    builds::{may, submitted},
};
use crate::{
    access::{Caller, Scope},
    ask::{Ask, At, Nothing},
    body::MaybeSent,
    problem::Problem,
    wire::Submitted,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use kiln::{
    BuildId, Engine, Error, ErrorKind, NodeId, Owner, Phase, Plan, Result, Submission, port::Job,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The longest idempotency key.
const KEY_BYTES_MAX: usize = 255;

/// The build that an idempotency key means: the same for the same key of the same owner.
fn key_id(owner: &Owner, key: &HeaderValue) -> Result<BuildId> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let message = "an idempotency key has 1 to 255 characters";
        return Err(Error::new(ErrorKind::Invalid, "submit", message));
    }
    let hash = Sha256::new().chain_update(owner.as_str()).chain_update([0]).chain_update(key);
    let mut hex = String::new();
    for byte in &hash.finalize()[..16] {
        let _ = write!(hex, "{byte:02x}");
    }
    BuildId::new(hex).map_err(|e| Error::new(ErrorKind::Unexpected, "submit", e.to_string()))
}

/// Accepts a build and gives it a turn. A crash in between is mended by whoever starts next: all
/// unfinished builds are pushed again, which changes nothing for those that are there.
pub(super) async fn accept(
    api: &Api,
    caller: &Caller,
    mut submission: Submission,
    priority: i32,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let id = headers.get("idempotency-key").map(|k| key_id(&caller.owner, k)).transpose()?;
    if let Some(id) = id.clone() {
        submission = submission.id(id);
    }
    let submission = submission.by(caller.actor());
    let (owner, plan) = (submission.owner_of().clone(), submission.plan_of().clone());
    let placement = submission.placement();
    let (build, made) = match (api.engine.accept(submission).await, id) {
        (Ok(build), _) => (build, true),
        (Err(e), Some(id)) if e.kind() == ErrorKind::AlreadyExists => {
            same(&api.engine, &id, &plan).await?;
            (id, false)
        }
        (Err(e), _) => return Err(e.into()),
    };
    let job = Job { priority, placement, ..Job::new(build.clone(), owner) };
    if made || api.engine.state(&build).await?.phase() != Phase::Finished {
        api.queue.push(job).await?;
    }
    Ok(submitted(Submitted { build, made }))
}

/// A key that comes again has to mean the same.
async fn same(engine: &Engine, id: &BuildId, plan: &Plan) -> Result<()> {
    if engine.state(id).await?.submitted() == plan {
        return Ok(());
    }
    let message = "that idempotency key was used for another build";
    Err(Error::new(ErrorKind::Conflict, "submit", message).with("build", id))
}

/// What of a build is done again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum From {
    /// Everything.
    #[default]
    Start,
    /// What did not succeed, and what of its needs is gone.
    Failed,
}

/// How a build is repeated.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// What is done again: everything without it.
    #[serde(default)]
    #[schema(inline)]
    from: From,
}

/// Submit the plan of a build again
#[utoipa::path(
    post,
    path = "/api/v1/builds/{build}/retry",
    tag = "builds",
    params(
        ("build" = String, Path, description = "Its id"),
        ("idempotency-key" = Option<String>, Header, description = "As for a new build"),
    ),
    request_body = Option<Retry>,
    responses((status = 201, body = Submitted), (status = 200, body = Submitted)),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    caller: Caller,
    At(build): At<String>,
    _: Ask<Nothing>,
    headers: HeaderMap,
    MaybeSent(ask): MaybeSent<Retry>,
) -> Result<Response, Problem> {
    let view = api.expect(&caller, Scope::Submit, &build).await?;
    let former = &view.summary.build;
    let state = api.engine.state(former).await?;
    may(&caller, state.submitted())?;
    let mut submission = Submission::new(state.submitted().clone())
        .owner(view.summary.owner)
        .labels(view.summary.labels)
        .label("kiln.retry_of", former.as_str());
    if ask.from == From::Failed {
        let reuse = state.reuse().map_err(|refusal| {
            Error::new(ErrorKind::Conflict, "retry", refusal.to_string())
                .with("build", former)
                .hint("Repeat the whole build, with `\"from\": \"start\"`.")
        })?;
        reachable(&api, reuse.node()).await?;
        submission = submission.reuse(former.clone(), reuse);
    }
    accept(&api, &caller, submission, 0, &headers).await
}

/// `Conflict` if the node with the images is not there to go on with them. A fleet that knows no
/// nodes at all says nothing of any.
async fn reachable(api: &Api, node: Option<&NodeId>) -> Result<()> {
    let Some(wanted) = node else { return Ok(()) };
    let nodes = api.fleet.nodes().await?;
    if nodes.is_empty() || nodes.iter().any(|n| n.id == *wanted && !n.drained) {
        return Ok(());
    }
    let message = "the node with the images of the build takes no builds";
    Err(Error::new(ErrorKind::Conflict, "retry", message)
        .with("node", wanted)
        .hint("Repeat the whole build, with `\"from\": \"start\"`."))
}
