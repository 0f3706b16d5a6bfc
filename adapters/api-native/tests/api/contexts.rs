//! Contexts that clients upload.

use crate::server::{ByName, Server};
use axum::{
    body::{Body, Bytes},
    http::{Request, Response, StatusCode},
};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use kiln::{BuildId, RelPath, port::ArtifactKey};
use kiln_api_native::{Everybody, Settings};
use serde_json::{Value, json};
use std::{io, time::Duration};

async fn upload(server: &Server, token: &str, body: Body) -> (StatusCode, Value) {
    let request =
        Request::post("/api/v1/contexts").header("authorization", format!("Bearer {token}"));
    answer(server.send(request.body(body).unwrap()).await).await
}

async fn answer(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn pieces(n: usize) -> Body {
    let piece = |i: usize| Ok::<_, io::Error>(Bytes::from(vec![i as u8; 1000]));
    Body::from_stream(stream::iter((0..n).map(piece)))
}

fn small() -> Settings {
    let mut settings = Settings::default();
    settings.context_bytes_max = 10_000;
    settings.body_wait = Duration::from_millis(50);
    settings
}

fn build_of(source: &Value) -> Value {
    json!({"build": {"source": {"url": source}, "tags": ["app:1"]}})
}

#[test]
fn a_context_is_kept_as_it_came() {
    kiln_conformance::run("contexts", async {
        let server = Server::with(Everybody, |api| api.settings(small()));
        let (status, uploaded) = upload(&server, "", pieces(10)).await;
        assert_eq!(status, StatusCode::CREATED, "{uploaded}");
        let source = uploaded["source"].as_str().unwrap();
        let build = BuildId::new(source.strip_prefix("upload:").unwrap()).unwrap();
        let key = ArtifactKey { build, name: RelPath::new("context.tar").unwrap() };
        let artifacts = &server.engine.tools().artifacts;
        let kept =
            artifacts.get(&key).await.unwrap().try_fold(Vec::new(), async |mut all, piece| {
                all.extend_from_slice(&piece);
                Ok(all)
            });
        let kept = kept.await.unwrap();
        assert_eq!(kept, (0..10).flat_map(|i| [i; 1000]).collect::<Vec<u8>>());
        let known = &artifacts.list(&key.build).await.unwrap()[0];
        assert_eq!(uploaded["bytes"], 10_000);
        assert_eq!(uploaded["digest"], json!(known.digest.to_string()));
        server.end().await;
    });
}

#[test]
fn what_is_too_large_too_slow_broken_or_empty_leaves_nothing() {
    kiln_conformance::run("contexts", async {
        let server = Server::with(Everybody, |api| api.settings(small()));
        let told = Request::post("/api/v1/contexts").header("content-length", "10001");
        let told = server.send(told.body(Body::empty()).unwrap()).await;
        assert_eq!(told.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let hanging = stream::iter([Ok::<_, io::Error>(Bytes::from("x"))]).chain(stream::pending());
        let broken = stream::iter([Ok(Bytes::from("x")), Err(io::Error::other("gone"))]);
        for (body, expected) in [
            (pieces(11), StatusCode::PAYLOAD_TOO_LARGE),
            (Body::from_stream(hanging), StatusCode::REQUEST_TIMEOUT),
            (Body::from_stream(broken), StatusCode::BAD_REQUEST),
            (Body::empty(), StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let (status, problem) = upload(&server, "", body).await;
            assert_eq!(status, expected, "{problem}");
            assert_eq!(problem["status"], expected.as_u16());
        }
        server.end().await;
    });
}

#[test]
fn an_upload_is_for_builds_of_its_owner() {
    kiln_conformance::run("contexts", async {
        let server = Server::new(ByName);
        let (status, uploaded) = upload(&server, "ann-submit", pieces(1)).await;
        assert_eq!(status, StatusCode::CREATED);
        for (token, expected) in
            [("ann-read", StatusCode::FORBIDDEN), ("nobody", StatusCode::UNAUTHORIZED)]
        {
            assert_eq!(upload(&server, token, pieces(1)).await.0, expected, "{token}");
        }
        let missing = uploaded["source"].as_str().unwrap().replace(['f', '0'], "1");
        for (token, source, expected) in [
            ("ann-submit", uploaded["source"].clone(), StatusCode::CREATED),
            ("bob-submit", uploaded["source"].clone(), StatusCode::UNPROCESSABLE_ENTITY),
            ("eve-admin", uploaded["source"].clone(), StatusCode::UNPROCESSABLE_ENTITY),
            ("ann-submit", json!(missing + "1"), StatusCode::UNPROCESSABLE_ENTITY),
            ("ann-submit", json!("upload:../../x"), StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let repository = json!({"url": "https://git.test/x.git"});
            let settings = json!({"input": {"url": source}, "pipeline": "deploy"});
            let input = json!({"pipeline": {"source": repository, "settings": settings}});
            for body in [build_of(&source), input] {
                let (status, told) = server.ask("POST", "/api/v1/builds", token, body).await;
                assert_eq!(status, expected, "{token} {source}: {told}");
            }
        }
        server.end().await;
    });
}

#[test]
fn a_caller_learns_who_it_is() {
    kiln_conformance::run("contexts", async {
        let server = Server::new(ByName);
        let (status, me) = server.ask("GET", "/api/v1/whoami", "ann-read", Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!((&me["owner"], &me["name"]), (&json!("ann"), &json!("ann's")));
        assert_eq!(me["scopes"], json!(["read"]));
        assert!(me["version"].is_string() && me["time"].is_u64(), "{me}");
        server.end().await;
    });
}
