//! Nodes.

use super::{Agent, Shared};
use crate::{
    access::Scope,
    body,
    fence::{TOKEN_LABEL, mark},
    problem::Answer,
    wire::{BeatAsk, BeatTold, EnrolAsk, NodesTold},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
};
use kiln::{Error, ErrorKind, NodeId, Result};

fn id(text: &str) -> Result<NodeId> {
    NodeId::new(text).map_err(|e| Error::new(ErrorKind::Invalid, "agent", e.to_string()))
}

pub(super) async fn enrol(
    State(shared): State<Shared>,
    agent: Agent,
    Path(node): Path<String>,
    body: Body,
) -> Answer<StatusCode> {
    let EnrolAsk { node: mut said } = body::json(body).await?;
    if said.id != id(&node)? {
        let message = "the node of the path and the node of the body are not the same";
        return Err(Error::new(ErrorKind::Invalid, "agent", message).into());
    }
    if agent.caller.scope != Scope::Admin {
        match shared.node_of(&agent.caller, &said.id).await {
            // What an operator said stays: an agent that starts again is drained still.
            Ok(known) => said.drained |= known.drained,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
        mark(&mut said, &agent.caller);
        said.seen_at = shared.now();
    }
    shared.api.fleet.enrol(&said).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn beat(
    State(shared): State<Shared>,
    agent: Agent,
    Path(node): Path<String>,
    body: Body,
) -> Answer<Json<BeatTold>> {
    let BeatAsk { at } = body::json(body).await?;
    let node = id(&node)?;
    let known = shared.node_of(&agent.caller, &node).await?;
    // By one clock, or nodes could not be compared.
    let at = if agent.is_admin() { at } else { shared.now() };
    shared.api.fleet.beat(&node, at).await?;
    Ok(Json(BeatTold { drained: known.drained }))
}

pub(super) async fn nodes(State(shared): State<Shared>, agent: Agent) -> Answer<Json<NodesTold>> {
    let mut nodes = shared.api.fleet.nodes().await?;
    if !agent.is_admin() {
        nodes.retain(|n| n.labels.get(TOKEN_LABEL) == Some(&agent.caller.name));
    }
    Ok(Json(NodesTold { nodes }))
}

pub(super) async fn remove(
    State(shared): State<Shared>,
    agent: Agent,
    Path(node): Path<String>,
) -> Answer<StatusCode> {
    let node = id(&node)?;
    match shared.node_of(&agent.caller, &node).await {
        Ok(_) => shared.api.fleet.remove(&node).await?,
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e.into()),
    }
    Ok(StatusCode::NO_CONTENT)
}
