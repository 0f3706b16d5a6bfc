//! The machines that run builds.

use super::Api;
use crate::{
    access::{Caller, Scope},
    ask::{Ask, At, Nothing},
    body::Sent,
    problem::Problem,
    schema,
    wire::Nodes,
};
use axum::{Json, extract::State, http::StatusCode};
use kiln::{Error, ErrorKind, Result, port::Node};
use serde::Deserialize;

/// The nodes, by name
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", responses((status = 200, body = Nodes)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    _: Ask<Nothing>,
) -> Result<Json<Nodes>, Problem> {
    caller.expect(Scope::Admin)?;
    Ok(Json(Nodes { nodes: api.fleet.nodes().await? }))
}

/// A node
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{node}",
    tag = "nodes",
    params(("node" = String, Path, description = "Its name")),
    responses((status = 200, body = schema::Node)),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(node): At<String>,
    _: Ask<Nothing>,
) -> Result<Json<Node>, Problem> {
    caller.expect(Scope::Admin)?;
    Ok(Json(find(&api, &node).await?))
}

/// Whether a node is to take no new builds.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// What it runs goes on to its end.
    drained: bool,
}

/// Let a node take no new builds, or take them again
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{node}/drain",
    tag = "nodes",
    params(("node" = String, Path, description = "Its name")),
    request_body = Drain,
    responses((status = 200, body = schema::Node)),
)]
pub(super) async fn drain(
    State(api): State<Api>,
    caller: Caller,
    At(node): At<String>,
    _: Ask<Nothing>,
    Sent(ask): Sent<Drain>,
) -> Result<Json<Node>, Problem> {
    caller.expect(Scope::Admin)?;
    let node = Node { drained: ask.drained, ..find(&api, &node).await? };
    api.fleet.enrol(&node).await?;
    caller.did(if ask.drained { "drained node" } else { "undrained node" }, node.id.as_str());
    Ok(Json(node))
}

/// Forget a node
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{node}",
    tag = "nodes",
    params(("node" = String, Path, description = "Its name")),
    responses((status = 204)),
)]
pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At(node): At<String>,
    _: Ask<Nothing>,
) -> Result<StatusCode, Problem> {
    caller.expect(Scope::Admin)?;
    let node = find(&api, &node).await?;
    api.fleet.remove(&node.id).await?;
    caller.did("removed node", node.id.as_str());
    Ok(StatusCode::NO_CONTENT)
}

async fn find(api: &Api, name: &str) -> Result<Node> {
    let node = api.fleet.nodes().await?.into_iter().find(|n| n.id.as_str() == name);
    node.ok_or_else(|| {
        let name: String = name.chars().take(64).collect();
        Error::new(ErrorKind::NotFound, "Fleet::nodes", "there is no such node").with("node", name)
    })
}
