//! Artifacts, streamed in both directions.

use super::{Agent, Ask, Shared, id};
use crate::{
    body,
    problem::Answer,
    wire::{ArtifactAsk, ArtifactTold, ArtifactsTold, CachesTold, ForAsk},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use kiln::{BuildId, CacheKey, Error, ErrorKind, RelPath, Result, port::ArtifactKey};

fn key(build: BuildId, name: &str) -> Result<ArtifactKey> {
    let name =
        RelPath::new(name).map_err(|e| Error::new(ErrorKind::Invalid, "agent", e.to_string()))?;
    Ok(ArtifactKey { build, name })
}

/// What a path names, if the caller may read its artifacts: a build that it has leased, or an
/// upload or a cache that the plan of one names.
async fn readable(shared: &Shared, agent: &Agent, path: &str, of: &ForAsk) -> Result<BuildId> {
    let Some(by) = of.build.as_ref().filter(|_| !agent.is_admin()) else {
        return agent.build(shared, path).await;
    };
    shared.fence(&agent.caller, by, agent.claim.as_ref()).await?;
    let facts = shared.facts(by, agent.claim.as_ref()).await?;
    let wanted = id(path)?;
    if facts.uploads.contains(path) || facts.caches.contains(&wanted) {
        return Ok(wanted);
    }
    let message = "the plan of that build names no such upload and no such cache";
    Err(Error::new(ErrorKind::Denied, "agent", message).with("build", by))
}

/// What a path names, if the caller may write its artifacts: a build that it has leased, or a cache
/// that the plan of one names.
async fn writable(shared: &Shared, agent: &Agent, path: &str, of: &ForAsk) -> Result<BuildId> {
    match id(path)? {
        cache if CacheKey::is_reserved(&cache) => readable(shared, agent, path, of).await,
        _ => agent.build(shared, path).await,
    }
}

pub(super) async fn put(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    Ask(ask): Ask<ArtifactAsk>,
    body: Body,
) -> Answer<Json<ArtifactTold>> {
    let key = key(writable(&shared, &agent, &build, &ask.of).await?, &ask.name)?;
    let artifact = shared.tools().artifacts.put(&key, body::pieces(body)).await?;
    Ok(Json(ArtifactTold { artifact }))
}

pub(super) async fn get(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    Ask(ask): Ask<ArtifactAsk>,
) -> Answer<Response> {
    let key = key(readable(&shared, &agent, &build, &ask.of).await?, &ask.name)?;
    let body = shared.tools().artifacts.get(&key).await?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(body)).into_response())
}

pub(super) async fn list(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    Ask(of): Ask<ForAsk>,
) -> Answer<Json<ArtifactsTold>> {
    let build = readable(&shared, &agent, &build, &of).await?;
    Ok(Json(ArtifactsTold { artifacts: shared.tools().artifacts.list(&build).await? }))
}

pub(super) async fn forget(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
) -> Answer<StatusCode> {
    shared.tools().artifacts.forget(&agent.any_build(&build)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn caches(State(shared): State<Shared>, agent: Agent) -> Answer<Json<CachesTold>> {
    agent.expect_admin()?;
    Ok(Json(CachesTold { caches: shared.tools().artifacts.caches().await? }))
}
