//! Requests that no agent of ours would make.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use kiln::{
    BuildId, Engine, Error, ErrorKind, Result,
    memory::{MemoryFleet, MemoryQueue},
    port::{ArtifactKey, LogBody, LogRecord, Offset, pack},
};
use kiln_api_agent::{Access, AgentApi, Caller, Scope, router};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tower::ServiceExt;

/// One token, which may do everything: what is refused is refused for what it is.
#[derive(Debug)]
struct One;

#[async_trait]
impl Access for One {
    async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        match token {
            Some("good") => Ok(Caller { name: "one".into(), scope: Scope::Admin }),
            _ => Err(Error::new(ErrorKind::Denied, "Access", "nobody has this token")),
        }
    }
}

/// Every route, with the method it has.
const ROUTES: [(&str, &str); 27] = [
    ("POST", "lease"),
    ("POST", "renew"),
    ("POST", "settle"),
    ("POST", "jobs"),
    ("DELETE", "jobs/B"),
    ("GET", "nodes"),
    ("PUT", "nodes/n"),
    ("DELETE", "nodes/n"),
    ("POST", "nodes/n/beat"),
    ("GET", "unfinished"),
    ("GET", "builds/B/journal"),
    ("POST", "builds/B/journal"),
    ("DELETE", "builds/B/journal"),
    ("GET", "builds/B/journal/wait?after=0&patience_ms=0"),
    ("GET", "builds/B/log?from=0&bytes_max=1&patience_ms=0"),
    ("POST", "builds/B/log?at=0"),
    ("DELETE", "builds/B/log"),
    ("GET", "builds/B/log/end"),
    ("POST", "builds/B/log/close"),
    ("PUT", "builds/B/summary"),
    ("DELETE", "builds/B/summary"),
    ("POST", "summaries"),
    ("GET", "builds/B/artifact?name=a"),
    ("PUT", "builds/B/artifact?name=a"),
    ("GET", "builds/B/artifacts"),
    ("GET", "caches"),
    ("POST", "secret"),
];

fn server() -> (Router, Engine) {
    let engine = Engine::builder().build();
    let api = AgentApi {
        engine: engine.clone(),
        queue: Arc::new(MemoryQueue::default()),
        fleet: Arc::new(MemoryFleet::default()),
        access: Arc::new(One),
        hold_back: Duration::ZERO,
    };
    (router(api), engine)
}

async fn send(server: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let (head, body) = server.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (head.status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("/agent/v1/{path}"))
        .header("kiln-agent-version", "1.1")
        .header("authorization", "Bearer good")
        .body(body.into())
        .unwrap()
}

fn test(name: &str, work: impl Future<Output = ()>) {
    kiln_conformance::run(name, work);
}

#[test]
fn nobody_is_answered_without_a_token() {
    test("without a token", async {
        let (server, _) = server();
        for (method, path) in ROUTES {
            for token in
                [None, Some("Bearer bad"), Some("Basic good"), Some("good"), Some("Bearer ")]
            {
                let mut request = request(method, &path.replace('B', "b"), "{}");
                request.headers_mut().remove("authorization");
                if let Some(token) = token {
                    request.headers_mut().insert("authorization", token.parse().unwrap());
                }
                let (status, said) = send(&server, request).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {token:?}: {said}");
                assert_eq!(said["code"], "denied");
            }
        }
    });
}

#[test]
fn what_is_no_json_or_another_is_told() {
    test("no json", async {
        let (server, _) = server();
        for (method, path) in ROUTES {
            for body in ["{", "[]", "null", "\"\u{0}\"", "{\"lease\": 1, \"node\": []}"] {
                let (status, said) =
                    send(&server, request(method, &path.replace('B', "b"), body)).await;
                assert!(!status.is_server_error(), "{method} {path} {body}: {status} {said}");
            }
        }
        let deep = "[".repeat(100_000);
        let (status, _) = send(&server, request("POST", "lease", deep)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn a_path_holds_ids_and_nothing_else() {
    test("paths", async {
        let (server, engine) = server();
        let long = "a".repeat(65);
        for build in ["..%2Fx", "a%2Fb", "%00", "-a", "%C3%BC", "a%20b", &long] {
            for (method, path) in ROUTES.iter().filter(|(_, path)| path.contains('B')) {
                let (status, said) =
                    send(&server, request(method, &path.replace('B', build), "{}")).await;
                assert!(status.is_client_error(), "{method} {path} {build}: {status} {said}");
            }
        }
        for name in ["..", "../x", "a/../../x", "/etc/passwd", "a%00b", "", "."] {
            let path = format!("builds/b/artifact?name={name}");
            let (status, said) = send(&server, request("PUT", &path, "x")).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {said}");
        }
        let build = BuildId::new("b").unwrap();
        assert_eq!(engine.tools().artifacts.list(&build).await.unwrap(), []);
    });
}

#[test]
fn bodies_have_a_bound_and_come_whole() {
    test("bodies", async {
        let (server, engine) = server();
        let piece = || Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 1 << 20]));
        // It never ends: who reads all of it before it judges would never answer.
        let endless = || Body::from_stream(stream::repeat_with(piece));
        for (method, path) in [("POST", "lease"), ("POST", "builds/b/log?at=0"), ("POST", "secret")]
        {
            let (status, said) = send(&server, request(method, path, endless())).await;
            assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{path}: {said}");
            assert_eq!(said["code"], "exhausted");
        }
        let broken = [piece(), Err(std::io::Error::other("gone"))];
        let body = Body::from_stream(stream::iter(broken).boxed());
        let (status, said) = send(&server, request("PUT", "builds/b/artifact?name=a", body)).await;
        assert_eq!(
            (status, &said["retry"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"temporary".into())
        );
        let name = kiln::RelPath::new("a").unwrap();
        let key = ArtifactKey { build: BuildId::new("b").unwrap(), name };
        assert!(engine.tools().artifacts.get(&key).await.is_err());
    });
}

#[test]
fn records_that_were_cut_keep_nothing() {
    test("records", async {
        let (server, engine) = server();
        let body = LogBody::Bytes { stream: kiln::port::Stream::Stdout, data: "hello".into() };
        let (at, time, step) = (Offset(0), kiln::Timestamp(1), kiln::StepId(0));
        let frames = pack(&[LogRecord { at, time, step, attempt: 1, body }]);
        let build = BuildId::new("b").unwrap();
        for cut in 1..frames.len() {
            let part = frames.slice(..cut);
            let (status, said) = send(&server, request("POST", "builds/b/log?at=0", part)).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{cut}: {said}");
        }
        assert_eq!(engine.tools().log_sink.end(&build).await.unwrap(), Offset(0));
        let (status, said) = send(&server, request("POST", "builds/b/log?at=0", frames)).await;
        assert_eq!((status, &said["end"]), (StatusCode::OK, &5.into()));
    });
}

#[test]
fn patience_that_is_asked_for_has_a_bound() {
    test("patience", async {
        let (server, _) = server();
        let path = format!("builds/b/journal/wait?after=0&patience_ms={}", u64::MAX);
        let wait = server.clone().oneshot(request("GET", &path, ""));
        // That it waits is all that can be seen soon; that it is no overflow, too.
        assert!(tokio::time::timeout(Duration::from_millis(200), wait).await.is_err());
        let (status, _) = send(&server, request("GET", "builds/b/journal/wait?after=x", "")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}
