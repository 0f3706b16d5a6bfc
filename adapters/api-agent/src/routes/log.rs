//! Logs, as frames.

use super::{Agent, Ask, Shared, patience};
use crate::{
    body,
    problem::Answer,
    wire::{OffsetTold, ReadAsk, WriteAsk},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use kiln::port::{Offset, pack, unpack};

/// How many bytes of records one append holds at most.
const APPEND_MAX: usize = 16 << 20;
/// How many bytes of a log are read at once at most.
const PAGE_MAX: u64 = 4 << 20;

pub(super) async fn append(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    Ask(ask): Ask<WriteAsk>,
    body: Body,
) -> Answer<Json<OffsetTold>> {
    let records = unpack(body::whole(body, APPEND_MAX).await?)?;
    // Last, so that as little as can be lies between the look at the lease and the append.
    let build = agent.build(&shared, &build).await?;
    let end = shared.tools().log_sink.append(&build, Offset(ask.at), &records).await?;
    Ok(Json(OffsetTold { end }))
}

pub(super) async fn read(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
    Ask(ask): Ask<ReadAsk>,
) -> Answer<Response> {
    let build = agent.build(&shared, &build).await?;
    let bytes_max = ask.bytes_max.min(PAGE_MAX) as usize;
    let patience = patience(ask.patience_ms);
    let reader = &shared.tools().log_reader;
    let page = reader.read(&build, Offset(ask.from), bytes_max, patience).await?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        ("kiln-log-next", page.next.0.to_string()),
        ("kiln-log-closed", page.closed.to_string()),
    ];
    Ok((headers, pack(&page.records)).into_response())
}

pub(super) async fn end(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
) -> Answer<Json<OffsetTold>> {
    let build = agent.build(&shared, &build).await?;
    Ok(Json(OffsetTold { end: shared.tools().log_sink.end(&build).await? }))
}

pub(super) async fn close(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
) -> Answer<StatusCode> {
    let build = agent.build(&shared, &build).await?;
    shared.tools().log_sink.close(&build).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn forget(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
) -> Answer<StatusCode> {
    shared.tools().log_sink.forget(&agent.any_build(&build)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
