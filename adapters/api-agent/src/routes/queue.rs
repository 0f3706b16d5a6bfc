//! Leases.

use super::{Agent, Shared, id, patience};
use crate::{
    body,
    fence::{mark, ttl},
    problem::Answer,
    wire::{LeaseAsk, LeaseTold, PushAsk, RemoveTold, RenewAsk, SettleAsk},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
};
use kiln::{
    Error, ErrorKind, Result, Status,
    port::{Lease, Settlement},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a request that waits for a build looks whether its node is drained now.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a job that an agent gives back may wait, so that a clock that is wrong costs little.
const AGAIN_MAX: Duration = Duration::from_secs(60);

pub(super) async fn lease(
    State(shared): State<Shared>,
    agent: Agent,
    body: Body,
) -> Answer<Json<LeaseTold>> {
    let ask: LeaseAsk = body::json(body).await?;
    let (ttl, patience) = (ttl(ask.ttl_ms), patience(ask.patience_ms));
    let lease = match agent.is_admin() {
        // No lower bound either: it may be a test of the queue.
        true => {
            let ttl = Duration::from_millis(ask.ttl_ms);
            let mut node = ask.node.clone();
            // Of a node that is not known, nobody said that it is drained.
            match shared.node_of(&agent.caller, &node.id).await {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
                known => node.drained |= known.is_ok_and(|known| known.drained),
            }
            shared.api.queue.lease(&node, ttl, patience).await?
        }
        false => wait(&shared, &agent, &ask, ttl, patience).await?,
    };
    Ok(Json(LeaseTold { lease }))
}

async fn wait(
    shared: &Shared,
    agent: &Agent,
    ask: &LeaseAsk,
    ttl: Duration,
    patience: Duration,
) -> Result<Option<Lease>> {
    let until = Instant::now() + patience;
    loop {
        let known = shared.node_of(&agent.caller, &ask.node.id).await?;
        let mut node = ask.node.clone();
        node.drained |= known.drained;
        mark(&mut node, &agent.caller);
        let left = until.saturating_duration_since(Instant::now());
        let shut = shared.gate.shut_for(&*shared.tools().store).await?;
        if !shut.is_zero() {
            if left.is_zero() {
                return Ok(None);
            }
            sleep(shut.min(left).min(LOOK_EVERY)).await;
            continue;
        }
        match shared.api.queue.lease(&node, ttl, left.min(LOOK_EVERY)).await {
            Ok(Some(lease)) => {
                shared.held.note(&agent.caller, &node.id, &lease, shared.now());
                return Ok(Some(lease));
            }
            Ok(None) if left <= LOOK_EVERY => return Ok(None),
            Ok(None) => {}
            Err(e) => return Err(trouble(shared, e)),
        }
    }
}

/// Leases may have lapsed while the queue was out of reach.
fn trouble(shared: &Shared, e: Error) -> Error {
    if e.retry_status() != Status::Permanent {
        shared.gate.shut();
    }
    e
}

pub(super) async fn renew(
    State(shared): State<Shared>,
    agent: Agent,
    body: Body,
) -> Answer<Json<LeaseTold>> {
    let RenewAsk { lease, ttl_ms } = body::json(body).await?;
    check(&shared, &agent, &lease).await?;
    let ttl = if agent.is_admin() { Duration::from_millis(ttl_ms) } else { ttl(ttl_ms) };
    let renewed = shared.api.queue.renew(&lease, ttl).await.map_err(|e| {
        if e.kind() == ErrorKind::Conflict {
            shared.held.drop(&lease.job.build, lease.token);
        }
        trouble(&shared, e)
    })?;
    if let Some(claim) = &agent.claim {
        shared.held.note(&agent.caller, &claim.node, &renewed, shared.now());
    }
    Ok(Json(LeaseTold { lease: Some(renewed) }))
}

/// The lease that is shown has to be the one that is spoken of.
async fn check(shared: &Shared, agent: &Agent, lease: &Lease) -> Result<()> {
    shared.fence(&agent.caller, &lease.job.build, agent.claim.as_ref()).await?;
    match &agent.claim {
        Some(claim) if claim.token != lease.token && !agent.is_admin() => {
            let message = "the lease that is shown is another one";
            Err(Error::new(ErrorKind::Invalid, "agent", message))
        }
        _ => Ok(()),
    }
}

pub(super) async fn settle(
    State(shared): State<Shared>,
    agent: Agent,
    body: Body,
) -> Answer<StatusCode> {
    let SettleAsk { lease, how } = body::json(body).await?;
    check(&shared, &agent, &lease).await?;
    let how = match how {
        Settlement::Again(at) if !agent.is_admin() => {
            Settlement::Again(at.min(shared.now().plus(AGAIN_MAX)))
        }
        how => how,
    };
    shared.api.queue.settle(&lease, how).await.map_err(|e| trouble(&shared, e))?;
    shared.held.drop(&lease.job.build, lease.token);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn push(
    State(shared): State<Shared>,
    agent: Agent,
    body: Body,
) -> Answer<StatusCode> {
    agent.expect_admin()?;
    let PushAsk { job } = body::json(body).await?;
    shared.api.queue.push(job).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove(
    State(shared): State<Shared>,
    agent: Agent,
    Path(build): Path<String>,
) -> Answer<Json<RemoveTold>> {
    agent.expect_admin()?;
    let removed = shared.api.queue.remove(&id(&build)?).await?;
    Ok(Json(RemoveTold { removed }))
}
