//! What the server says of itself.

use super::Api;
use crate::{
    access::Caller,
    ask::{Ask, Nothing},
    problem::Problem,
    wire::{Ready, WhoAmI},
};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::future::join3;
use kiln::{
    BuildId, Error, ErrorKind, Result, Seq,
    port::{BuildFilter, Page},
};
use std::{collections::BTreeMap, future::Future, sync::LazyLock, time::Duration};

/// How long a part may take to say that it is ready.
const READY_WAIT: Duration = Duration::from_secs(5);

/// Who calls
#[utoipa::path(get, path = "/api/v1/whoami", tag = "server", responses((status = 200, body = WhoAmI)))]
pub(super) async fn who_am_i(
    State(api): State<Api>,
    caller: Caller,
    _: Ask<Nothing>,
) -> Json<WhoAmI> {
    Json(WhoAmI {
        owner: caller.owner,
        name: caller.name,
        scopes: caller.scopes,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: api.engine.tools().clock.now(),
    })
}

/// This document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "server",
    responses((status = 200, content_type = "application/json", body = Object)),
)]
pub(super) async fn document(_: Ask<Nothing>) -> Response {
    // Anybody may ask, as often as they like: it is made once.
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| super::openapi().to_json().unwrap_or_default().into());
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], DOCUMENT.clone()).into_response()
}

/// Whether the server runs
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "server",
    responses((status = 200, content_type = "text/plain", body = String)),
)]
pub(super) async fn health(_: Ask<Nothing>) -> &'static str {
    "ok\n"
}

/// Whether builds can be taken and kept, and which part cannot if not
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "server",
    responses((status = 200, body = Ready), (status = 503, body = Ready)),
)]
pub(super) async fn ready(State(api): State<Api>, _: Ask<Nothing>) -> Result<Response, Problem> {
    let tools = api.engine.tools();
    // No build has this name: that nobody knows it is the answer of a store that works.
    let nobody = BuildId::new("kiln.ready")
        .map_err(|e| Error::new(ErrorKind::Unexpected, "ready", e.to_string()))?;
    let one = Page { max: 1, after: None };
    let filter = BuildFilter::default();
    let (store, index, fleet) = join3(
        said(tools.store.load(&nobody, Seq::START)),
        said(tools.index.list(&filter, &one)),
        said(api.fleet.nodes()),
    )
    .await;
    let parts = BTreeMap::from([
        ("store".to_owned(), store),
        ("index".to_owned(), index),
        ("fleet".to_owned(), fleet),
    ]);
    let ready = parts.values().all(|said| said == "ok");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Ready { ready, parts })).into_response())
}

/// Only the kind of an error: anybody may ask.
async fn said<T>(asked: impl Future<Output = Result<T>>) -> String {
    match tokio::time::timeout(READY_WAIT, asked).await {
        Ok(Ok(_)) => "ok".to_owned(),
        Ok(Err(e)) if e.kind() == ErrorKind::NotFound => "ok".to_owned(),
        Ok(Err(e)) => {
            tracing::warn!(error = ?e, "not ready");
            format!("{:?}", e.kind()).to_lowercase()
        }
        Err(_) => "timeout".to_owned(),
    }
}
