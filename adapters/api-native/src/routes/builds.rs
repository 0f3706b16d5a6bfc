//! Builds: submitted, listed, shown, cancelled.

use super::{Api, repeat::accept};
use crate::{
    access::{Caller, Scope},
    ask::{Ask, At, Nothing},
    body::{MaybeSent, PLAN_BYTES_MAX, Sent},
    plan::plan,
    problem::Problem,
    schema, upload,
    view::{cursor, read_cursor},
    wire::{Page, Submit, Submitted},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use kiln::{
    BuildView, Error, ErrorKind, Owner, Phase, Plan, Result, Seq, Submission,
    port::{BuildFilter, PageToken},
};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// How many builds a page has at most, and how many by default.
const PAGE: (usize, usize) = (500, 50);
/// How many events of a journal come at once.
const EVENTS_MAX: usize = 1_000;
/// How many seconds news of a journal are waited for at most.
const WAIT_MAX: u64 = 50;
/// How many labels a build may have, and how many bytes a key and a value.
const LABELS_MAX: (usize, usize, usize) = (64, 128, 1_024);
/// How many bytes a reason may have.
const REASON_MAX: usize = 1_024;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "builds", message)
}

/// Submit a build
#[utoipa::path(
    post,
    path = "/api/v1/builds",
    tag = "builds",
    params(("idempotency-key" = Option<String>, Header,
        description = "1 to 255 characters: the same key of the same owner means the same build")),
    request_body = Submit,
    responses((status = 201, body = Submitted), (status = 200, body = Submitted)),
)]
pub(super) async fn submit(
    State(api): State<Api>,
    caller: Caller,
    _: Ask<Nothing>,
    headers: HeaderMap,
    Sent(body): Sent<Submit, PLAN_BYTES_MAX>,
) -> Result<Response, Problem> {
    caller.expect(Scope::Submit)?;
    let (labels, priority) = (body.labels.clone(), body.priority);
    check_labels(&labels)?;
    let plan = plan(body)?;
    may(&caller, &plan)?;
    upload::check_plan(&caller.owner, &plan, &*api.engine.tools().artifacts).await?;
    let submission = Submission::new(plan).owner(caller.owner.clone()).labels(labels);
    accept(&api, &caller, submission, priority, &headers).await
}

/// The answer to whoever submitted.
pub(super) fn submitted(submitted: Submitted) -> Response {
    let place = [(header::LOCATION, format!("/api/v1/builds/{}", submitted.build))];
    let status = if submitted.made { StatusCode::CREATED } else { StatusCode::OK };
    (status, place, Json(submitted)).into_response()
}

/// Containers of the host belong to everybody on it, so only an admin may copy one.
pub(super) fn may(caller: &Caller, plan: &Plan) -> Result<()> {
    if !plan.uses_host_containers() || caller.is_admin() {
        return Ok(());
    }
    let message = "only an admin may commit a container that is no box of the build";
    Err(Error::new(ErrorKind::Denied, "submit", message))
}

/// Labels of Kiln that clients give: what is built, in their words.
const FREE_LABELS: [&str; 4] = ["kiln.what", "kiln.tags", "kiln.app", "kiln.pipeline"];

fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    let (many, key, value) = LABELS_MAX;
    if labels.len() > many {
        return Err(invalid(format!("a build has {many} labels at most")));
    }
    let wrong = |(k, v): (&String, &String)| {
        k.is_empty() || k.len() > key || v.len() > value || k.contains(char::is_control)
    };
    if labels.iter().any(wrong) {
        let message = format!(
            "the key of a label has 1 to {key} bytes and no control characters, \
             and its value {value} bytes at most"
        );
        return Err(invalid(message));
    }
    // By these others know where a build came from, so nobody but Kiln gives them.
    let own = |k: &&String| k.starts_with("kiln.") && !FREE_LABELS.contains(&k.as_str());
    match labels.keys().find(own) {
        Some(label) => Err(invalid(format!("the label `{label}` is Kiln's own"))
            .hint("Choose one that does not begin with `kiln.`.")),
        None => Ok(()),
    }
}

/// What a list shows.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// The beginning of their id.
    prefix: Option<String>,
    /// Their owner; others than its own only for an admin.
    #[param(value_type = Option<String>)]
    owner: Option<Owner>,
    /// Where they stand.
    #[param(value_type = Option<schema::Phase>)]
    phase: Option<Phase>,
    /// How they ended: succeeded, failed, errored, timed_out or cancelled.
    outcome: Option<String>,
    /// A label they have, as `KEY=VALUE`.
    label: Option<String>,
    /// How many at once: 50 without it, 500 at most.
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
}

/// List builds, latest first
#[utoipa::path(
    get,
    path = "/api/v1/builds",
    tag = "builds",
    params(Filter),
    responses((status = 200, body = Page)),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ask(ask): Ask<Filter>,
) -> Result<Json<Page>, Problem> {
    caller.expect(Scope::Read)?;
    let owner = if caller.is_admin() { ask.owner } else { Some(caller.owner) };
    let labels = match ask.label.as_deref().map(|l| l.split_once('=')) {
        None => BTreeMap::new(),
        Some(Some((key, value))) => BTreeMap::from([(key.to_owned(), value.to_owned())]),
        Some(None) => return Err(invalid("`label` is written KEY=VALUE").into()),
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

/// A build with its steps
#[utoipa::path(
    get,
    path = "/api/v1/builds/{build}",
    tag = "builds",
    params(("build" = String, Path, description = "Its id")),
    responses((status = 200, body = schema::Build)),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(build): At<String>,
    _: Ask<Nothing>,
) -> Result<Json<BuildView>, Problem> {
    Ok(Json(api.expect(&caller, Scope::Read, &build).await?))
}

/// Which part of a journal is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// After this place; the first event is at 1.
    #[serde(default)]
    after: u64,
    /// How many events at once: 1,000 without it and at most.
    limit: Option<usize>,
    /// How many seconds to wait for news if there are none, 50 at most.
    #[serde(default)]
    wait: u64,
}

/// The events of a build, after a place
///
/// A header `Link` with `rel="next"` says that there are more.
#[utoipa::path(
    get,
    path = "/api/v1/builds/{build}/journal",
    tag = "builds",
    params(("build" = String, Path, description = "Its id"), After),
    responses((status = 200, body = Vec<schema::Recorded>)),
)]
pub(super) async fn journal(
    State(api): State<Api>,
    caller: Caller,
    At(build): At<String>,
    Ask(ask): Ask<After>,
) -> Result<Response, Problem> {
    let view = api.expect(&caller, Scope::Read, &build).await?;
    let (store, build) = (&api.engine.tools().store, &view.summary.build);
    let after = Seq(ask.after);
    let over = view.summary.phase == Phase::Finished;
    if ask.wait > 0 && !over && view.summary.seq <= after {
        let patience = Duration::from_secs(ask.wait.min(WAIT_MAX));
        // A server that ends lets go; the client asks again elsewhere.
        let _ = api.until.race(store.wait(build, after, patience)).await;
    }
    let mut events = store.load(build, after).await?;
    let max = ask.limit.unwrap_or(EVENTS_MAX).clamp(1, EVENTS_MAX);
    let more = events.len() > max;
    events.truncate(max);
    let mut headers = HeaderMap::new();
    if let Some(last) = events.last().filter(|_| more) {
        let link = format!(
            "</api/v1/builds/{build}/journal?after={}&limit={max}>; rel=\"next\"",
            last.seq
        );
        headers.insert(
            header::LINK,
            link.parse().map_err(|e| {
                Error::new(ErrorKind::Unexpected, "journal", "a link is no header").source(e)
            })?,
        );
    }
    Ok((headers, Json(events)).into_response())
}

/// How a build is to stop.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    /// For people.
    #[serde(default)]
    reason: Option<String>,
    /// Whether its after-steps are to stop too.
    #[serde(default)]
    force: bool,
}

/// Ask a build to stop
#[utoipa::path(
    post,
    path = "/api/v1/builds/{build}/cancel",
    tag = "builds",
    params(("build" = String, Path, description = "Its id")),
    request_body = Option<Cancel>,
    responses((status = 202)),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    At(build): At<String>,
    _: Ask<Nothing>,
    MaybeSent(ask): MaybeSent<Cancel>,
) -> Result<StatusCode, Problem> {
    let view = api.expect(&caller, Scope::Submit, &build).await?;
    let reason = ask.reason.unwrap_or_else(|| format!("asked for by {}", caller.owner));
    if reason.len() > REASON_MAX {
        return Err(invalid(format!("a reason has {REASON_MAX} bytes at most")).into());
    }
    let (build, by) = (&view.summary.build, Some(caller.actor()));
    if api.engine.cancel_by(build, &reason, ask.force, by).await? == Phase::Finished {
        // Nobody has to drive it any more. Whoever leased it just now finds it finished.
        api.queue.remove(build).await?;
    }
    Ok(StatusCode::ACCEPTED)
}
