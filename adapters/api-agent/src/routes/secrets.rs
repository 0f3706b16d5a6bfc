//! Secrets, for builds that are driven.

use super::{Agent, Shared};
use crate::{
    body,
    fence::Claim,
    problem::Answer,
    wire::{RevealAsk, Shown},
};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use kiln::{Error, ErrorKind, Owner, Result, SecretRef};

/// How many leases are looked at.
const SHOWN_MAX: usize = 256;

pub(super) async fn reveal(
    State(shared): State<Shared>,
    agent: Agent,
    body: Body,
) -> Answer<Response> {
    let RevealAsk { owner, secret, leases } = body::json(body).await?;
    if !agent.is_admin() {
        may(&shared, &agent, &owner, &secret, &leases).await?;
    }
    let value = shared.tools().secrets.reveal(&owner, &secret).await?;
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, value.expose().to_vec()).into_response())
}

/// `Denied` unless a build that the caller drives is the owner's and its plan names the secret.
async fn may(
    shared: &Shared,
    agent: &Agent,
    owner: &Owner,
    secret: &SecretRef,
    leases: &[Shown],
) -> Result<()> {
    for shown in leases.iter().take(SHOWN_MAX) {
        let Some(claim) = Claim::read(&shown.lease) else { continue };
        match shared.fence(&agent.caller, &shown.build, Some(&claim)).await {
            Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::Denied) => continue,
            fenced => fenced?,
        }
        let facts = shared.facts(&shown.build, Some(&claim)).await?;
        if facts.owner == *owner && facts.secrets.contains(secret) {
            return Ok(());
        }
    }
    let message = "no build that this agent has leased may know that secret";
    Err(Error::new(ErrorKind::Denied, "agent", message).with("secret", secret))
}
