//! Logs: read, and followed from any offset on.

use super::Api;
use crate::{
    access::{Caller, Scope},
    ask::{Ask, At},
    problem::Problem,
    view::line,
    wire::LogLine,
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{LogBody, LogPage, LogReader, LogRecord, Offset},
};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many bytes of a log are read at once. A follower holds one such page at most, however slow
/// it is, and there may be many.
const PAGE_BYTES: usize = 128 << 10;
/// How long a page is waited for before the reader is asked again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What of a log is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// From this offset on.
    #[serde(default)]
    after: u64,
    /// 1 to go on with what comes until the log is closed.
    #[serde(default)]
    follow: u8,
}

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Server-sent events, whose ids are the offsets to go on after.
    Events,
    /// One JSON object a line.
    Lines,
    /// What was printed, and nothing else.
    Text,
}

fn form(headers: &HeaderMap) -> Form {
    let accept = headers.get(header::ACCEPT).and_then(|h| h.to_str().ok()).unwrap_or("");
    match accept {
        a if a.contains("text/event-stream") => Form::Events,
        a if a.contains("text/plain") => Form::Text,
        _ => Form::Lines,
    }
}

/// Where a client that comes again had been.
fn last_event(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    id.to_str().ok().and_then(|id| id.trim().parse().ok()).map(Some).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "logs", "Last-Event-ID is no offset of a log")
    })
}

/// The log of a build, from an offset on
#[utoipa::path(
    get,
    path = "/api/v1/builds/{build}/logs",
    tag = "logs",
    params(
        ("build" = String, Path, description = "Its id"),
        Part,
        ("accept" = Option<String>, Header, description = "Which form is wanted"),
        ("last-event-id" = Option<u64>, Header, description = "In place of `after`"),
    ),
    responses((status = 200, description = "JSON records, server-sent events with such records, or \
        the output alone", content(
            (LogLine = "application/x-ndjson"),
            (LogLine = "text/event-stream"),
            (String = "text/plain"),
    ))),
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    At(build): At<String>,
    Ask(ask): Ask<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let build = api.expect(&caller, Scope::Read, &build).await?.summary.build;
    let from = Offset(last_event(&headers)?.unwrap_or(ask.after));
    let records = records(&api, build, from, ask.follow != 0).await?;
    Ok(match form(&headers) {
        Form::Events => events(records),
        Form::Lines => body(records, "application/x-ndjson", |record| {
            let mut json = serde_json::to_vec(&line(&record)).unwrap_or_default();
            json.push(b'\n');
            json.into()
        }),
        Form::Text => body(records, "text/plain; charset=utf-8", |record| match record.body {
            LogBody::Bytes { data, .. } => data,
            LogBody::Gap { bytes, why } => format!("\n[{bytes} bytes are missing: {why}]\n").into(),
            _ => Bytes::new(),
        }),
    })
}

/// The records of a log from an offset on: what is there now, or until the log is closed. A wrong
/// offset is told at once. A server that ends breaks off with `Unavailable`.
pub(super) async fn records(
    api: &Api,
    build: BuildId,
    from: Offset,
    follow: bool,
) -> Result<BoxStream<'static, Result<LogRecord>>> {
    let reader = api.engine.tools().log_reader.clone();
    reader.read(&build, from, 0, Duration::ZERO).await?;
    let (until, turns) = (api.until.clone(), api.turns.clone());
    let pages = stream::try_unfold(Some(from), move |at| {
        let (reader, build) = (reader.clone(), build.clone());
        let (until, turns) = (until.clone(), turns.clone());
        async move {
            let Some(at) = at else { return Ok(None) };
            let page = until.race(page(&*reader, &turns, &build, at, follow)).await;
            let page = page.map_err(|_| {
                let message = "the server ends, and the log goes on elsewhere or later";
                Error::new(ErrorKind::Unavailable, "logs", message)
            })??;
            let more = if follow { !page.closed } else { !page.records.is_empty() };
            let records = stream::iter(page.records.into_iter().map(Ok));
            Ok(Some((records, more.then_some(page.next))))
        }
    });
    Ok(pages.try_flatten().boxed())
}

/// The next page. What is there is read in turns: a reader needs more than it gives, and many who
/// follow one log come at once. What is yet to come is waited for by all, and short.
async fn page(
    reader: &dyn LogReader,
    turns: &Semaphore,
    build: &BuildId,
    at: Offset,
    follow: bool,
) -> Result<LogPage> {
    let turn = turns.acquire().await;
    let page = reader.read(build, at, PAGE_BYTES, Duration::ZERO).await?;
    drop(turn);
    if !follow || page.closed || !page.records.is_empty() {
        return Ok(page);
    }
    reader.read(build, at, PAGE_BYTES, PATIENCE).await
}

fn body(
    records: BoxStream<'static, Result<LogRecord>>,
    kind: &'static str,
    write: impl Fn(LogRecord) -> Bytes + Send + 'static,
) -> Response {
    let chunks = records.map_ok(write);
    // A slow client takes what it can: nothing is read ahead for it.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], Body::from_stream(chunks))
        .into_response()
}

fn events(records: BoxStream<'static, Result<LogRecord>>) -> Response {
    let told = records.map(|record| {
        let record = record?;
        let event = Event::default().id(record.end().0.to_string()).event("log");
        event
            .json_data(line(&record))
            .map_err(|e| Error::new(ErrorKind::Unexpected, "logs", "a record is no JSON").source(e))
    });
    // Without it a client would ask again for ever, after the end too.
    let end = stream::once(async { Ok(Event::default().event("end").data("{}")) });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Sse::new(told.chain(end)).keep_alive(alive).into_response()
}
