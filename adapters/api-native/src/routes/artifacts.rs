//! The files that builds keep.

use super::Api;
use crate::{
    access::{Caller, Scope},
    ask::{Ask, At, Nothing},
    problem::Problem,
    wire,
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt, stream};
use kiln::{
    Artifact, BuildId, BuildView, Error, ErrorKind, RelPath, Result,
    port::{ArtifactKey, ByteStream},
};
use std::{collections::BTreeMap, ops::Range};

/// The artifacts of a build, by name
#[utoipa::path(
    get,
    path = "/api/v1/builds/{build}/artifacts",
    tag = "builds",
    params(("build" = String, Path, description = "Its id")),
    responses((status = 200, body = wire::Artifacts)),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    At(build): At<String>,
    _: Ask<Nothing>,
) -> Result<Json<wire::Artifacts>, Problem> {
    let view = api.expect(&caller, Scope::Read, &build).await?;
    let artifacts = all(&api, &view).await?.into_iter().map(|(name, (_, kept))| wire::Artifact {
        name,
        bytes: kept.bytes,
        digest: kept.digest.to_string(),
    });
    Ok(Json(wire::Artifacts { artifacts: artifacts.collect() }))
}

/// What a build keeps, by name, and the build it is kept for: itself, or the one it took it over
/// from.
async fn all(api: &Api, view: &BuildView) -> Result<BTreeMap<String, (BuildId, Artifact)>> {
    let mut all = BTreeMap::new();
    let build = &view.summary.build;
    for step in view.step_views.iter().filter(|s| s.reused_of.is_some()) {
        let Some(kept) = step.output.as_ref().and_then(|o| o.artifact.as_ref()) else { continue };
        let Some((of, name)) = kept.key.split_once('/') else { continue };
        let Ok(of) = BuildId::new(of) else { continue };
        // Who wrote the journal does not say whose artifacts are shown.
        match api.engine.state(&of).await {
            Ok(state) if *state.owner() == view.summary.owner => {
                all.insert(name.to_owned(), (of, kept.clone()));
            }
            Ok(_) => {}
            // It was forgotten, and its artifacts with it.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    for kept in api.engine.tools().artifacts.list(build).await? {
        if let Some(name) = kept.key.strip_prefix(&format!("{build}/")) {
            all.insert(name.to_owned(), (build.clone(), kept));
        }
    }
    Ok(all)
}

/// An artifact
#[utoipa::path(
    get,
    path = "/api/v1/builds/{build}/artifacts/{*name}",
    tag = "builds",
    params(
        ("build" = String, Path, description = "Its id"),
        ("name" = String, Path, description = "The name of the artifact, which may have slashes"),
        ("range" = Option<String>, Header, description = "`bytes=FIRST-LAST`, for one part"),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304),
    ),
)]
pub(super) async fn fetch(
    State(api): State<Api>,
    caller: Caller,
    At((build, name)): At<(String, String)>,
    _: Ask<Nothing>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = api.expect(&caller, Scope::Read, &build).await?;
    let shown: String = name.chars().take(256).collect();
    let missing = || {
        Error::new(ErrorKind::NotFound, "artifact", "the build has no such artifact")
            .with("artifact", shown.clone())
    };
    let name = RelPath::new(&name).map_err(|_| missing())?;
    let (of, kept) = all(&api, &view).await?.remove(name.as_str()).ok_or_else(missing)?;
    let tag = format!("\"{}\"", kept.digest);
    let asked = |name| headers.get(name).and_then(|h: &HeaderValue| h.to_str().ok());
    let mut answer = about(&name, &kept, &tag)?;
    if asked(header::IF_NONE_MATCH).is_some_and(|t| t == "*" || t.contains(&tag)) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    // A part of what it was before is of no use.
    let same = asked(header::IF_RANGE).is_none_or(|t| t == tag);
    let part = asked(header::RANGE).filter(|_| same).map(|r| range(r, kept.bytes));
    let (status, part) = match part {
        None | Some(Asked::Whole) => (StatusCode::OK, 0..kept.bytes),
        Some(Asked::Part(part)) => (StatusCode::PARTIAL_CONTENT, part),
        Some(Asked::Nothing) => {
            let error = Error::new(ErrorKind::Invalid, "artifact", "the artifact ends before")
                .with("bytes", kept.bytes);
            return Err(Problem::new(error, StatusCode::RANGE_NOT_SATISFIABLE));
        }
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let told = format!("bytes {}-{}/{}", part.start, part.end - 1, kept.bytes);
        answer.insert(header::CONTENT_RANGE, value(&told)?);
    }
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if method == Method::HEAD {
        return Ok((status, answer).into_response());
    }
    let bytes = api.engine.tools().artifacts.get(&ArtifactKey { build: of, name }).await?;
    Ok((status, answer, Body::from_stream(only(bytes, part))).into_response())
}

/// What is told of an artifact. Whatever it holds, a browser shall show and run none of it.
fn about(name: &RelPath, kept: &Artifact, tag: &str) -> Result<HeaderMap> {
    let mut about = HeaderMap::new();
    let mut put = |name: HeaderName, text: &str| value(text).map(|v| drop(about.insert(name, v)));
    put(header::CONTENT_TYPE, "application/octet-stream")?;
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    put(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'")?;
    put(header::CONTENT_DISPOSITION, &disposition(name))?;
    put(header::ACCEPT_RANGES, "bytes")?;
    put(header::CACHE_CONTROL, "private, no-cache")?;
    put(header::ETAG, tag)?;
    let digest = kept.digest.to_string();
    if let Some(bytes) = digest.strip_prefix("sha256:").and_then(from_hex) {
        // RFC 9530.
        let digest = format!("sha-256=:{}:", STANDARD.encode(bytes));
        put(HeaderName::from_static("repr-digest"), &digest)?;
    }
    Ok(about)
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|e| {
        Error::new(ErrorKind::Unexpected, "artifact", "a header has no such value").source(e)
    })
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok()).collect()
}

/// To be saved under the last part of its name: in ASCII for old clients, and as it is (RFC 6266).
fn disposition(name: &RelPath) -> String {
    let last = name.as_str().rsplit('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let old: String = last.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut new = String::new();
    for byte in last.bytes() {
        match plain(char::from(byte)) {
            true => new.push(char::from(byte)),
            false => new.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("attachment; filename=\"{old}\"; filename*=UTF-8''{new}")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// What a `Range` asks for of so many bytes. What is not understood, or is more than one part, is
/// answered with all, as RFC 9110 allows.
fn range(text: &str, bytes: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let part = match (number(first), number(last)) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(bytes),
        (Ok(first), Err(_)) if last.is_empty() => first..bytes,
        (Err(_), Ok(last)) if first.is_empty() => bytes.saturating_sub(last)..bytes,
        _ => return Asked::Whole,
    };
    if part.is_empty() { Asked::Nothing } else { Asked::Part(part) }
}

/// Only a part of the bytes that come.
fn only(bytes: ByteStream, part: Range<u64>) -> ByteStream {
    stream::try_unfold((bytes, 0, part), async |(mut bytes, mut at, part)| {
        while at < part.end {
            let Some(mut piece) = bytes.next().await.transpose()? else { break };
            let from = part.start.saturating_sub(at).min(piece.len() as u64);
            let to = (part.end - at).min(piece.len() as u64);
            at += piece.len() as u64;
            if from < to {
                piece = piece.slice(from as usize..to as usize);
                return Ok(Some((piece, (bytes, at, part))));
            }
        }
        Ok(None)
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header() {
        let shown = |name| disposition(&RelPath::new(name).unwrap());
        assert_eq!(shown("a/b.tar"), "attachment; filename=\"b.tar\"; filename*=UTF-8''b.tar");
        let evil = shown("x\"; y\r\nSet-Cookie: a=é");
        assert_eq!(
            evil,
            "attachment; filename=\"x___y__Set-Cookie__a__\"; \
             filename*=UTF-8''x%22%3B%20y%0D%0ASet-Cookie%3A%20a%3D%C3%A9"
        );
    }

    #[test]
    fn a_range_is_one_part_or_all() {
        for (text, expected) in [
            ("bytes=0-4", Asked::Part(0..5)),
            ("bytes=5-", Asked::Part(5..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=9-99999999999999999999", Asked::Whole),
            ("bytes=9-18446744073709551615", Asked::Part(9..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=4-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(range(text, 10), expected, "{text}");
        }
    }
}
