//! Summaries.

use super::{Agent, Shared};
use crate::{
    body,
    problem::Answer,
    wire::{ListAsk, SummariesTold, SummaryAsk},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
};
use kiln::{Error, ErrorKind};

pub(super) async fn put(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    body: Body,
) -> Answer<StatusCode> {
    let SummaryAsk { summary } = body::json(body).await?;
    let build = agent.build(&shared, &build).await?;
    if summary.build != build {
        let message = "the build of the path and the build of the body are not the same";
        return Err(Error::new(ErrorKind::Invalid, "agent", message).into());
    }
    if !agent.is_admin() {
        let facts = shared.facts(&build, agent.claim.as_ref()).await?;
        if facts.owner != summary.owner {
            let message = "the build belongs to somebody else";
            return Err(Error::new(ErrorKind::Invalid, "agent", message).into());
        }
    }
    shared.tools().index.put(&summary).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn list(
    State(shared): State<Shared>,
    agent: Agent,
    body: Body,
) -> Answer<Json<SummariesTold>> {
    agent.expect_admin()?;
    let ListAsk { filter, page } = body::json(body).await?;
    Ok(Json(SummariesTold { summaries: shared.tools().index.list(&filter, &page).await? }))
}

pub(super) async fn forget(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
) -> Answer<StatusCode> {
    shared.tools().index.forget(&agent.any_build(&build)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
