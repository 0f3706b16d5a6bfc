//! From what the network and the server say to errors of a port.

use bytes::Bytes;
use kiln::{Error, ErrorKind, Status};
use reqwest::StatusCode;
use serde::Deserialize;

/// What a server says that could not do what it was asked for.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    code: Option<ErrorKind>,
    #[serde(default)]
    retry: Option<Status>,
    #[serde(default)]
    hint: Option<String>,
}

/// An error on the way: what became of the call is not known.
pub(crate) fn of_network(op: &'static str, server: &str, e: reqwest::Error) -> Error {
    let kind = match e.is_timeout() && !e.is_connect() {
        true => ErrorKind::Timeout,
        false => ErrorKind::Unavailable,
    };
    let message = match (e.is_connect(), e.is_timeout()) {
        (true, _) => "the server cannot be reached",
        (false, true) => "the server does not answer",
        (false, false) => "the answer of the server did not come whole",
    };
    let connect = e.is_connect();
    let error = Error::new(kind, op, message).with("server", server).source(e.without_url());
    match connect {
        true => error.hint("Check that the server runs and that its address is right."),
        false => error,
    }
}

/// An answer that is no answer: it stopped half-way, or is too long, or is no JSON.
pub(crate) fn of_answer(op: &'static str, server: &str, problem: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, op, problem).with("server", server)
}

/// What a status that is no success means, with what was said beside it.
pub(crate) fn of_status(
    op: &'static str,
    server: &str,
    status: StatusCode,
    is_problem: bool,
    body: &Bytes,
) -> Error {
    let said = match is_problem {
        true => serde_json::from_slice::<Value>(body).ok().and_then(read),
        false => None,
    };
    let kind = |known: Option<ErrorKind>| known.unwrap_or_else(|| kind_of(status));
    let Some(Problem { detail, code, retry, hint }) = said else {
        // Somebody between us and the server, such as a proxy.
        let error = Error::new(kind(None), op, format!("the server answered with status {status}"))
            .with("server", server);
        return match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                error.hint("Check the address of the server, and that it takes agents.")
            }
            _ => error,
        };
    };
    let mut error = Error::new(kind(code), op, detail);
    if let Some(retry) = retry {
        error = error.status(retry);
    }
    if status == StatusCode::UNAUTHORIZED {
        error = error.hint("Check the token: kiln-server token list shows which there are.");
    }
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

use serde_json::Value;

/// Words that this version does not know are as if they were not there.
fn read(mut body: Value) -> Option<Problem> {
    let object = body.as_object_mut()?;
    if object.get("code").is_some_and(|c| serde_json::from_value::<ErrorKind>(c.clone()).is_err()) {
        object.remove("code");
    }
    if object.get("retry").is_some_and(|r| serde_json::from_value::<Status>(r.clone()).is_err()) {
        object.remove("retry");
    }
    serde_json::from_value(body).ok()
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 | 403 => ErrorKind::Denied,
        404 | 405 | 501 => ErrorKind::Unsupported,
        408 | 502 | 503 | 504 => ErrorKind::Unavailable,
        409 => ErrorKind::Conflict,
        413 | 507 => ErrorKind::Exhausted,
        422 => ErrorKind::Invalid,
        429 => ErrorKind::RateLimited,
        _ => ErrorKind::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &'static str) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        of_status(
            "test",
            "http://h",
            status,
            body.starts_with('{'),
            &Bytes::from_static(body.as_bytes()),
        )
    }

    #[test]
    fn an_error_crosses_the_wire_as_it_was() {
        let e = said(
            409,
            r#"{"detail": "the journal moved on (end: 4)", "code": "conflict", "retry": "persistent", "hint": "Load it.", "new": 1}"#,
        );
        assert_eq!((e.kind(), e.retry_status()), (ErrorKind::Conflict, Status::Persistent));
        assert_eq!(
            (e.message(), e.hint_text()),
            ("the journal moved on (end: 4)", Some("Load it."))
        );
    }

    #[test]
    fn words_of_a_newer_server_are_passed_over() {
        let e = said(503, r#"{"detail": "x", "code": "brand_new", "retry": "maybe"}"#);
        assert_eq!((e.kind(), e.retry_status()), (ErrorKind::Unavailable, Status::Temporary));
    }

    #[test]
    fn what_a_proxy_says_is_read_by_its_status() {
        for (status, kind) in [
            (502, ErrorKind::Unavailable),
            (404, ErrorKind::Unsupported),
            (403, ErrorKind::Denied),
            (413, ErrorKind::Exhausted),
            (500, ErrorKind::Unexpected),
        ] {
            assert_eq!(said(status, "<html>").kind(), kind, "{status}");
        }
    }
}
