//! Builds: submitted, listed, shown, cancelled, repeated.

use super::{Api, id};
use crate::{
    access::{Caller, Scope},
    plan::plan,
    problem::Problem,
    view::{cursor, read_cursor},
    wire::{Page, Submit, Submitted},
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use kiln::{
    BuildId, BuildView, Engine, Error, ErrorKind, Owner, Phase, Plan, Recorded, Result, Seq,
    Submission,
    port::{BuildFilter, Job, PageToken},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt::Write};

/// How many builds a page has at most, and how many by default.
const PAGE: (usize, usize) = (500, 50);
/// The longest idempotency key.
const KEY_BYTES_MAX: usize = 255;

pub(super) async fn submit(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Json<Submit>, JsonRejection>,
) -> Result<Response, Problem> {
    caller.expect(Scope::Submit)?;
    let Json(body) = body.map_err(unreadable)?;
    let (labels, priority) = (body.labels.clone(), body.priority);
    let plan = plan(body)?;
    may(&caller, &plan)?;
    let id = key_id(&caller.owner, &headers)?;
    let (build, made) = accept(&api, caller.owner, plan, labels, priority, id).await?;
    let place = [(header::LOCATION, format!("/api/v1/builds/{build}"))];
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, place, Json(Submitted { build, made })).into_response())
}

/// Containers of the host belong to everybody on it, so only an admin may copy one.
fn may(caller: &Caller, plan: &Plan) -> Result<()> {
    if !plan.uses_host_containers() || caller.is_admin() {
        return Ok(());
    }
    let message = "only an admin may commit a container that is no box of the build";
    Err(Error::new(ErrorKind::Denied, "submit", message))
}

/// What a client wrote that is no submission: the place is in the message.
fn unreadable(rejection: JsonRejection) -> Problem {
    let kind = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::Exhausted,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, "submit", rejection.body_text()).into()
}

/// The build that an idempotency key means: the same for the same key of the same owner.
fn key_id(owner: &Owner, headers: &HeaderMap) -> Result<Option<BuildId>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let message = "an idempotency key has 1 to 255 characters";
        return Err(Error::new(ErrorKind::Invalid, "submit", message));
    }
    let hash = Sha256::new().chain_update(owner.as_str()).chain_update([0]).chain_update(key);
    let mut hex = String::new();
    for byte in &hash.finalize()[..16] {
        let _ = write!(hex, "{byte:02x}");
    }
    BuildId::new(hex)
        .map(Some)
        .map_err(|e| Error::new(ErrorKind::Unexpected, "submit", e.to_string()))
}

/// Accepts a build and gives it a turn. A crash in between is mended by whoever starts next: all
/// unfinished builds are pushed again, which changes nothing for those that are there.
async fn accept(
    api: &Api,
    owner: Owner,
    plan: Plan,
    labels: BTreeMap<String, String>,
    priority: i32,
    id: Option<BuildId>,
) -> Result<(BuildId, bool)> {
    let placement = plan.placement();
    let mut submission = Submission::new(plan.clone()).owner(owner.clone());
    for (key, value) in labels {
        submission = submission.label(key, value);
    }
    if let Some(id) = id.clone() {
        submission = submission.id(id);
    }
    let (build, made) = match (api.engine.accept(submission).await, id) {
        (Ok(build), _) => (build, true),
        (Err(e), Some(id)) if e.kind() == ErrorKind::AlreadyExists => {
            same(&api.engine, &id, &plan).await?;
            (id, false)
        }
        (Err(e), _) => return Err(e),
    };
    let job = Job { priority, placement, ..Job::new(build.clone(), owner) };
    if made || api.engine.state(&build).await?.phase() != Phase::Finished {
        api.queue.push(job).await?;
    }
    Ok((build, made))
}

/// A key that comes again has to mean the same.
async fn same(engine: &Engine, id: &BuildId, plan: &Plan) -> Result<()> {
    if engine.state(id).await?.plan() == plan {
        return Ok(());
    }
    let message = "that idempotency key was used for another build";
    Err(Error::new(ErrorKind::Conflict, "submit", message).with("build", id))
}

/// What a list shows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    prefix: Option<String>,
    owner: Option<Owner>,
    phase: Option<Phase>,
    outcome: Option<String>,
    /// `KEY=VALUE`.
    label: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(ask): Query<Filter>,
) -> Result<Json<Page>, Problem> {
    caller.expect(Scope::Read)?;
    let owner = if caller.is_admin() { ask.owner } else { Some(caller.owner) };
    let labels = match ask.label.as_deref().map(|l| l.split_once('=')) {
        None => BTreeMap::new(),
        Some(Some((key, value))) => BTreeMap::from([(key.to_owned(), value.to_owned())]),
        Some(None) => {
            let message = "`label` is written KEY=VALUE";
            return Err(Error::new(ErrorKind::Invalid, "list", message).into());
        }
    };
    let filter = BuildFilter {
        id_prefix: ask.prefix,
        owner,
        phase: ask.phase,
        outcome: ask.outcome,
        labels,
    };
    let max = ask.limit.unwrap_or(PAGE.1).clamp(1, PAGE.0);
    let after = ask.cursor.as_deref().map(read_cursor).transpose()?;
    // One more tells whether there is another page.
    let page = kiln::port::Page { max: max + 1, after };
    let mut builds = api.engine.list(&filter, &page).await?;
    let more = builds.len() > max;
    builds.truncate(max);
    let next = builds.last().filter(|_| more).map(|last| cursor(&PageToken::after(last)));
    Ok(Json(Page { builds, next }))
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(build): Path<String>,
) -> Result<Json<BuildView>, Problem> {
    Ok(Json(api.expect(&caller, Scope::Read, &build).await?))
}

/// From where on a journal is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

pub(super) async fn journal(
    State(api): State<Api>,
    caller: Caller,
    Path(build): Path<String>,
    Query(ask): Query<After>,
) -> Result<Json<Vec<Recorded>>, Problem> {
    let view = api.expect(&caller, Scope::Read, &build).await?;
    let store = &api.engine.tools().store;
    Ok(Json(store.load(&view.summary.build, Seq(ask.after)).await?))
}

/// How a build is to stop.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    #[serde(default)]
    reason: Option<String>,
    /// Whether its after-steps are to stop too.
    #[serde(default)]
    force: bool,
}

pub(super) async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Path(build): Path<String>,
    body: Result<Option<Json<Cancel>>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let view = api.expect(&caller, Scope::Submit, &build).await?;
    let ask = body.map_err(unreadable)?.map(|Json(ask)| ask).unwrap_or_default();
    let reason = ask.reason.unwrap_or_else(|| format!("asked for by {}", caller.owner));
    api.engine.cancel(&view.summary.build, &reason, ask.force).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Path(build): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = api.expect(&caller, Scope::Submit, &build).await?;
    let state = api.engine.state(&id(&build)?).await?;
    may(&caller, state.plan())?;
    let mut labels = view.summary.labels;
    labels.insert("kiln.retry_of".into(), build);
    let key = key_id(&caller.owner, &headers)?;
    let owner = view.summary.owner;
    let (build, made) = accept(&api, owner, state.plan().clone(), labels, 0, key).await?;
    let place = [(header::LOCATION, format!("/api/v1/builds/{build}"))];
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, place, Json(Submitted { build, made })).into_response())
}
