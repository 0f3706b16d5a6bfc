//! Logs: read, and followed from any offset on.

use super::Api;
use crate::{
    access::{Caller, Scope},
    problem::Problem,
    view::line,
};
use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use kiln::{
    BuildId, Engine, Error, ErrorKind, Result,
    port::{LogBody, LogRecord, Offset},
};
use serde::Deserialize;
use std::time::Duration;

/// How many bytes of a log are read at once.
const PAGE_BYTES: usize = 256 << 10;

/// What of a log is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
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

pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(build): Path<String>,
    Query(ask): Query<Ask>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let build = api.expect(&caller, Scope::Read, &build).await?.summary.build;
    let from = Offset(last_event(&headers)?.unwrap_or(ask.after));
    let follow = ask.follow != 0;
    // A wrong offset is told before anything is sent.
    let reader = &api.engine.tools().log_reader;
    reader.read(&build, from, 0, Duration::ZERO).await?;
    let records = match follow {
        true => api.engine.log(&build, from),
        false => now(api.engine, build, from),
    };
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
            _ => axum::body::Bytes::new(),
        }),
    })
}

/// What is there now, page by page.
fn now(engine: Engine, build: BuildId, from: Offset) -> BoxStream<'static, Result<LogRecord>> {
    let pages = stream::try_unfold(from, move |at| {
        let (reader, build) = (engine.tools().log_reader.clone(), build.clone());
        async move {
            let page = reader.read(&build, at, PAGE_BYTES, Duration::ZERO).await?;
            let some = !page.records.is_empty();
            Ok(some.then(|| (stream::iter(page.records.into_iter().map(Ok)), page.next)))
        }
    });
    pages.try_flatten().boxed()
}

fn body(
    records: BoxStream<'static, Result<LogRecord>>,
    kind: &'static str,
    write: impl Fn(LogRecord) -> axum::body::Bytes + Send + 'static,
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
