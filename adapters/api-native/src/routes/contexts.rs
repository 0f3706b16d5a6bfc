//! Contexts that clients upload.

use super::Api;
use crate::{
    access::{Caller, Scope},
    ask::{Ask, Nothing},
    body::{Trouble, bounded, told_length},
    problem::Problem,
    upload,
    wire::Uploaded,
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use kiln::{Error, ErrorKind, RelPath, Result, port::ArtifactKey};
use std::sync::{Arc, OnceLock};

/// Upload a tar archive, plain or compressed by gzip or zstd, for a build to fetch
#[utoipa::path(
    post,
    path = "/api/v1/contexts",
    tag = "builds",
    request_body(content_type = "application/x-tar", content = Vec<u8>),
    responses((status = 201, body = Uploaded)),
)]
pub(super) async fn upload(
    State(api): State<Api>,
    caller: Caller,
    _: Ask<Nothing>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.expect(Scope::Submit)?;
    let max = api.settings.context_bytes_max;
    if told_length(&headers).is_some_and(|bytes| bytes > max) {
        return Err(Trouble::TooLarge.problem(max));
    }
    let tools = api.engine.tools();
    let build = upload::name(&caller.owner, tools.clock.now())?;
    let name = RelPath::new(upload::CONTEXT)
        .map_err(|e| Error::new(ErrorKind::Unexpected, "upload", e.to_string()))?;
    let key = ArtifactKey { build: build.clone(), name };
    let trouble = Arc::new(OnceLock::new());
    let pieces = bounded(body, max, api.settings.body_wait, trouble.clone());
    let kept = match tools.artifacts.put(&key, pieces).await {
        Ok(kept) => kept,
        // Whatever the store made of it: the client is told what the client did.
        Err(e) => return Err(trouble.get().map_or(e.into(), |t: &Trouble| t.problem(max))),
    };
    if kept.bytes == 0 {
        tools.artifacts.forget(&build).await?;
        let error = Error::new(ErrorKind::Invalid, "upload", "the context is empty")
            .hint("The body of the request is the tar archive.");
        return Err(error.into());
    }
    let digest = kept.digest.to_string();
    let uploaded = Uploaded { source: upload::source(&build), bytes: kept.bytes, digest };
    Ok((StatusCode::CREATED, Json(uploaded)).into_response())
}
