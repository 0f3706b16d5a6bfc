//! The engine's push, with its answer read here: the vendor's client leaves out which layer a
//! progress is about, and the digest.
//!
//! Source of the format: the Docker Engine API, "Push an image", and `pkg/jsonmessage` of
//! `github.com/moby/moby`.

use super::with_tag;
use crate::{client::DockerClient, error::said, progress::layer};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use bollard::{auth::DockerCredentials, errors::Error as Vendor, models::ProgressDetail};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, body::Incoming};
use kiln::{Digest, Error, ErrorKind, ImageRef, Result, StepCx};
use serde::Deserialize;
use std::collections::BTreeMap;

const OP: &str = "Registry::push";
/// More than any message of an engine, and than any error it hands on.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One line of the answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    status: Option<String>,
    id: Option<String>,
    progress_detail: Option<ProgressDetail>,
    error: Option<String>,
    aux: Option<Aux>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Aux {
    digest: Option<String>,
}

/// Pushes a name the engine has, and returns the digest it tells at the end. To drop the future
/// ends the push.
pub(super) async fn push(
    client: &DockerClient,
    cx: &StepCx,
    to: &ImageRef,
    login: Option<DockerCredentials>,
) -> Result<Digest> {
    let mut body = open(client, to, login.unwrap_or_default()).await?.into_body();
    let (mut layers, mut digest) = (BTreeMap::new(), None);
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| client.error(OP, e.into()))?;
        let Ok(bytes) = frame.into_data() else { continue };
        lines.add(&bytes).map_err(|e| e.with("to", to))?;
        while let Some(line) = lines.next() {
            let Some(message) = message(&line)? else { continue };
            if let Some(error) = message.error {
                return Err(said(OP, &error, ErrorKind::Unavailable).with("to", to));
            }
            let told = message.aux.and_then(|aux| aux.digest);
            digest = told.and_then(|d| Digest::parse(&d).ok()).or(digest);
            if let Some(status) = message.status {
                let id = message.id.as_deref().filter(|id| !id.is_empty());
                layer(&cx.log, &mut layers, id, &status, message.progress_detail);
            }
        }
    }
    digest.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, OP, "the engine ended the push without saying how")
            .with("to", to)
            .hint("See whether the Docker engine was restarted, and push again.")
    })
}

async fn open(
    client: &DockerClient,
    to: &ImageRef,
    login: DockerCredentials,
) -> Result<Response<Incoming>> {
    let json = serde_json::to_vec(&login).map_err(|e| client.error(OP, Vendor::from(e)))?;
    let name = with_tag(to);
    let (name, tag) = name.rsplit_once(':').unwrap_or((&name, "latest"));
    // Of what a name can hold, only the brackets of an address have a meaning in a URL.
    let name = name.replace('[', "%5B").replace(']', "%5D");
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/images/{name}/push?tag={tag}"))
        .header("x-registry-auth", URL_SAFE.encode(json))
        .body(Empty::<Bytes>::new())
        .map_err(|e| client.error(OP, Vendor::from(e)))?;
    let response = client.wire().send(request).await.map_err(|e| client.error(OP, e))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status_code = response.status().as_u16();
    let body = http_body_util::Limited::new(response.into_body(), LINE_BYTES_MAX).collect().await;
    let text = body.map(|b| b.to_bytes()).unwrap_or_default();
    let message = serde_json::from_slice::<serde_json::Value>(&text)
        .ok()
        .and_then(|v| v.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&text).into_owned());
    Err(client.error(OP, Vendor::DockerResponseServerError { status_code, message }).with("to", to))
}

fn message(line: &[u8]) -> Result<Option<Message>> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some).map_err(|e| {
        Error::new(ErrorKind::Unexpected, OP, "the engine said something that is not JSON")
            .source(e.to_string())
    })
}

/// Bytes that come in any pieces, as lines.
#[derive(Default)]
struct Lines(BytesMut);

impl Lines {
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        let last = self.0.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if self.0.len() - last > LINE_BYTES_MAX {
            return Err(Error::new(ErrorKind::Unexpected, OP, "the engine's answer has no end"));
        }
        Ok(())
    }

    fn next(&mut self) -> Option<BytesMut> {
        let end = self.0.iter().position(|b| *b == b'\n')?;
        let line = self.0.split_to(end);
        self.0.advance(1);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"{\"status\":\"a\"}\r\n\n{\"aux\":{\"Digest\":\"d\"}}\n";
        for size in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.add(piece).unwrap();
                while let Some(line) = lines.next() {
                    found.extend(message(&line).unwrap());
                }
            }
            assert_eq!(found.len(), 2, "{size}");
            assert_eq!(found[0].status.as_deref(), Some("a"));
            assert_eq!(found[1].aux.as_ref().unwrap().digest.as_deref(), Some("d"));
        }
    }

    #[test]
    fn an_answer_without_end_is_an_error() {
        let mut lines = Lines::default();
        let e = (0..20).find_map(|_| lines.add(&[b'x'; 1 << 16]).err()).unwrap();
        assert_eq!(e.kind(), ErrorKind::Unexpected);
    }

    #[test]
    fn what_is_not_json_is_said_so() {
        assert!(message(b"<html>").is_err_and(|e| e.kind() == ErrorKind::Unexpected));
    }
}
