//! Journals.

use super::{Agent, Ask, Shared, patience};
use crate::{
    body,
    problem::Answer,
    wire::{AppendAsk, BuildsTold, EventsTold, LoadAsk, SeqTold, WaitAsk, WaitTold},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
};
use kiln::Seq;

pub(super) async fn load(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    Ask(ask): Ask<LoadAsk>,
) -> Answer<Json<EventsTold>> {
    let build = agent.build(&shared, &build).await?;
    let events = shared.tools().store.load(&build, Seq(ask.after)).await?;
    Ok(Json(EventsTold { events }))
}

pub(super) async fn append(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    body: Body,
) -> Answer<Json<SeqTold>> {
    let AppendAsk { after, entries } = body::json(body).await?;
    // Last, so that as little as can be lies between the look at the lease and the append.
    let build = agent.build(&shared, &build).await?;
    let end = shared.tools().store.append(&build, after, &entries).await?;
    Ok(Json(SeqTold { end }))
}

pub(super) async fn wait(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    Ask(ask): Ask<WaitAsk>,
) -> Answer<Json<WaitTold>> {
    let build = agent.build(&shared, &build).await?;
    let patience = patience(ask.patience_ms);
    let news = shared.tools().store.wait(&build, Seq(ask.after), patience).await?;
    Ok(Json(WaitTold { news }))
}

pub(super) async fn unfinished(
    State(shared): State<Shared>,
    agent: Agent,
) -> Answer<Json<BuildsTold>> {
    agent.expect_admin()?;
    Ok(Json(BuildsTold { builds: shared.tools().store.unfinished().await? }))
}

pub(super) async fn forget(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
) -> Answer<StatusCode> {
    shared.tools().store.forget(&agent.any_build(&build)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
