//! The version of the protocol, which both sides say with every message.

use crate::problem::Problem;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use kiln::{Error, ErrorKind, Result};

/// The header that says the version.
pub(crate) const HEADER: &str = "kiln-agent-version";
const MAJOR: u16 = 1;
const MINOR: u16 = 1;
const OURS: &str = "1.1";

/// Refuses who is more than one minor version away, and says which version this is.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let mut response = match accepted(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(e) => Problem::from(e).into_response(),
    };
    response.headers_mut().insert(HEADER, HeaderValue::from_static(OURS));
    response
}

fn accepted(headers: &HeaderMap) -> Result<()> {
    let fail = |message: String| Error::new(ErrorKind::Unsupported, "agent", message);
    let Some(header) = headers.get(HEADER) else {
        return Err(fail("the request does not say which version of the protocol it is in".into())
            .hint("Use kiln-agent: this part of the server is not for anybody else."));
    };
    let text = header.to_str().unwrap_or("?");
    let version = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let Some((major, minor)) = version else {
        let text: String = text.chars().take(20).collect();
        return Err(fail(format!("`{text}` is no version of the protocol")));
    };
    let near = major == MAJOR && MINOR.abs_diff(minor) <= 1;
    let (what, next) = match (major, minor) < (MAJOR, MINOR) {
        true => ("old", "Update the agent to the version of the server."),
        false => ("new", "Update the server first, and then its agents."),
    };
    if near {
        return Ok(());
    }
    let message =
        format!("the agent is too {what}: it speaks version {major}.{minor}, the server {OURS}");
    Err(fail(message).hint(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(version: Option<&'static str>) -> Result<()> {
        let header = version.map(|v| (HEADER, v));
        let headers = header
            .into_iter()
            .map(|(k, v)| (axum::http::HeaderName::from_static(k), HeaderValue::from_static(v)));
        accepted(&headers.collect())
    }

    #[test]
    fn one_minor_version_apart_is_near_enough() {
        for good in ["1.0", "1.1", "1.2"] {
            said(Some(good)).unwrap();
        }
        for (bad, word) in
            [("1.3", "too new"), ("0.9", "too old"), ("2.1", "too new"), ("1", "no version")]
        {
            let e = said(Some(bad)).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unsupported, "{bad}");
            assert!(e.message().contains(word), "{bad}: {e}");
        }
        assert!(said(None).is_err());
    }

    #[test]
    fn the_version_is_written_once() {
        assert_eq!(OURS, format!("{MAJOR}.{MINOR}"));
    }
}
