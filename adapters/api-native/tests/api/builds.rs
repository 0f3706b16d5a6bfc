//! Builds: submitted, followed, listed, cancelled, repeated.

use crate::server::{ByName, Server, say};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use kiln_api_native::Everybody;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn a_build_goes_from_request_to_log() {
    kiln_conformance::run("api", async {
        let server = Server::new(Everybody);
        let build = server
            .submit(json!({
                "build": {
                    "dockerfile": "FROM scratch\nRUN true",
                    "tags": ["hub.test/app:1"],
                    "push": true,
                },
                "labels": {"repo": "app"},
            }))
            .await;
        // Following ends when the log does.
        let path = format!("/api/v1/builds/{build}/logs?follow=1");
        let log = server.text(&path, "text/plain", None).await;
        assert!(log.contains("FROM scratch"), "{log}");
        let view = server.get(&format!("/api/v1/builds/{build}")).await;
        assert_eq!(view["outcome"]["outcome"], "succeeded", "{view}");
        assert_eq!(view["step_views"][1]["verb"], "push");
        let journal = server.get(&format!("/api/v1/builds/{build}/journal?after=1")).await;
        assert_eq!(journal[0]["event"], "adopted");
        let list = server.get("/api/v1/builds?label=repo=app&outcome=succeeded").await;
        assert_eq!(list["builds"][0]["build"], json!(build));
        server.end().await;
    });
}

#[test]
fn a_follower_that_comes_again_gets_exactly_the_rest() {
    kiln_conformance::run("api", async {
        let server = Server::new(Everybody);
        let build = server.submit(say("one two three")).await;
        let path = format!("/api/v1/builds/{build}/logs?follow=1");
        let events = server.text(&path, "text/event-stream", None).await;
        assert!(events.trim_end().ends_with("event: end\ndata: {}"), "{events}");
        let ids: Vec<_> = events.lines().filter_map(|l| l.strip_prefix("id: ")).collect();
        assert!(ids.len() >= 3, "{events}");
        for (i, id) in ids.iter().enumerate() {
            let rest = server.text(&path, "text/event-stream", Some(id)).await;
            let again: Vec<_> = rest.lines().filter_map(|l| l.strip_prefix("id: ")).collect();
            assert_eq!(again, ids[i + 1..], "after {id}");
        }
        let lines = server.text(&format!("/api/v1/builds/{build}/logs?after=3"), "", None).await;
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first["at"], 3);
        server.end().await;
    });
}

#[test]
fn pages_go_on_where_the_one_before_ended() {
    kiln_conformance::run("api", async {
        let server = Server::new(Everybody);
        let mut made = BTreeSet::new();
        for i in 0..7 {
            made.insert(server.submit(say(&i.to_string())).await);
        }
        let (mut seen, mut path) = (Vec::new(), "/api/v1/builds?limit=3".to_owned());
        loop {
            let page = server.get(&path).await;
            let builds = page["builds"].as_array().unwrap();
            seen.extend(builds.iter().map(|b| b["build"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => path = format!("/api/v1/builds?limit=3&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 7);
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), made);
        server.end().await;
    });
}

#[test]
fn the_same_key_makes_one_build() {
    kiln_conformance::run("api", async {
        let server = Server::new(Everybody);
        let send = async |body: Value| {
            let request = Request::post("/api/v1/builds")
                .header("content-type", "application/json")
                .header("idempotency-key", "order-7")
                .body(Body::from(body.to_string()));
            let response = server.send(request.unwrap()).await;
            let status = response.status();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice::<Value>(&bytes).unwrap())
        };
        let (first, made) = send(say("a")).await;
        let (second, again) = send(say("a")).await;
        assert_eq!((first, second), (StatusCode::CREATED, StatusCode::OK));
        assert_eq!(made["build"], again["build"]);
        assert_eq!(again["made"], false);
        assert_eq!(send(say("b")).await.0, StatusCode::CONFLICT);
        server.end().await;
    });
}

#[test]
fn an_owner_sees_its_own_builds_only() {
    kiln_conformance::run("api", async {
        let server = Server::new(ByName);
        let ask = async |method: &str, path: &str, token: &str, body: Value| {
            server.ask(method, path, token, body).await
        };
        let (status, made) = ask("POST", "/api/v1/builds", "ann-submit", say("x")).await;
        assert_eq!(status, StatusCode::CREATED);
        let path = format!("/api/v1/builds/{}", made["build"].as_str().unwrap());
        for (token, expected) in [
            ("ann-read", StatusCode::OK),
            ("ann-submit", StatusCode::OK),
            ("eve-admin", StatusCode::OK),
            ("ann-agent", StatusCode::FORBIDDEN),
            ("bob-read", StatusCode::NOT_FOUND),
            ("bob-submit", StatusCode::NOT_FOUND),
            ("", StatusCode::UNAUTHORIZED),
            ("nonsense", StatusCode::UNAUTHORIZED),
        ] {
            for path in [path.clone(), format!("{path}/journal"), format!("{path}/logs")] {
                assert_eq!(ask("GET", &path, token, Value::Null).await.0, expected, "{token}");
            }
        }
        for (token, expected) in [
            ("ann-read", StatusCode::FORBIDDEN),
            ("bob-submit", StatusCode::NOT_FOUND),
            ("", StatusCode::UNAUTHORIZED),
        ] {
            for verb in ["cancel", "retry"] {
                let path = format!("{path}/{verb}");
                assert_eq!(ask("POST", &path, token, Value::Null).await.0, expected, "{token}");
            }
        }
        let commit = json!({"commit": {"container": "web-1", "tags": ["x:1"]}});
        for (token, expected) in
            [("ann-submit", StatusCode::FORBIDDEN), ("eve-admin", StatusCode::CREATED)]
        {
            let body = commit.clone();
            assert_eq!(ask("POST", "/api/v1/builds", token, body).await.0, expected, "{token}");
        }
        let list = ask("GET", "/api/v1/builds?owner=ann", "bob-read", Value::Null).await.1;
        assert_eq!(list["builds"], json!([]));
        server.end().await;
    });
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    kiln_conformance::run("api", async {
        let server = Server::new(Everybody);
        let local = json!({"plan": {"version": 1, "steps": [{"name": "b", "op": "build",
            "recipe": {"kind": "dockerfile"}, "context": {"kind": "directory", "path": "/etc"},
            "when": "success", "may_fail": false, "attempts": {"max": 1}}]}});
        for (body, status, words) in [
            (json!({}), StatusCode::UNPROCESSABLE_ENTITY, "name one of"),
            (json!({"build": {}}), StatusCode::UNPROCESSABLE_ENTITY, "nothing to build"),
            (json!({"bild": {}}), StatusCode::UNPROCESSABLE_ENTITY, "unknown field `bild`"),
            (
                json!({"commit": {"container": "c", "tags": [], "push": true}}),
                StatusCode::UNPROCESSABLE_ENTITY,
                "needs `tags`",
            ),
            (
                json!({"run": {"image": "UPPER", "command": {"argv": ["x"]}}}),
                StatusCode::UNPROCESSABLE_ENTITY,
                "upper",
            ),
            (local, StatusCode::FORBIDDEN, "path of the host"),
        ] {
            let (seen, problem) = server.ask("POST", "/api/v1/builds", "", body.clone()).await;
            assert_eq!(seen, status, "{body}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.to_lowercase().contains(words), "{body}: {detail}");
        }
        for path in [
            "/api/v1/builds/nobody",
            "/api/v1/builds/..%2f..%2fetc",
            "/api/v1/builds/nobody/logs",
            "/api/v1/builds/nobody/journal",
        ] {
            let (seen, _) = server.ask("GET", path, "", Value::Null).await;
            assert_eq!(seen, StatusCode::NOT_FOUND, "{path}");
        }
        for path in ["/api/v1/builds?cursor=zzz", "/api/v1/builds?label=x"] {
            let (seen, _) = server.ask("GET", path, "", Value::Null).await;
            assert_eq!(seen, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        }
        let build = server.submit(say("x")).await;
        let path = format!("/api/v1/builds/{build}/logs?after=999999");
        let (seen, _) = server.ask("GET", &path, "", Value::Null).await;
        assert_eq!(seen, StatusCode::UNPROCESSABLE_ENTITY);
        server.end().await;
    });
}

#[test]
fn a_pipeline_is_a_fetch_and_a_question_to_its_planner() {
    kiln_conformance::run("api", async {
        let server = Server::new(Everybody);
        let source = json!({"url": "https://git.test/x.git", "reference": "main"});
        let form = json!({"source": source, "path": "sub", "settings": {"pipeline": "test"},
            "timeout_ms": 60_000});
        let build = server.submit(json!({"pipeline": form})).await;
        let journal = server.get(&format!("/api/v1/builds/{build}/journal")).await;
        let plan = &journal[0]["plan"];
        assert_eq!(plan["steps"][0]["source"]["reference"], "main", "{plan}");
        let asked = &plan["steps"][1];
        assert_eq!((&asked["op"], &asked["planner"]), (&json!("plan"), &json!("wercker")));
        assert_eq!((&asked["path"], &asked["needs"]), (&json!("source/sub"), &json!([0])));
        assert_eq!(asked["settings"], json!({"pipeline": "test", "version": 1}));
        assert_eq!(plan["timeout_ms"], 60_000);
        let out = json!({"pipeline": {"source": source, "path": "../etc"}});
        let (status, _) = server.ask("POST", "/api/v1/builds", "", out).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        server.end().await;
    });
}

#[test]
fn a_build_is_cancelled_and_repeated() {
    kiln_conformance::run("api", async {
        let server = Server::new(Everybody);
        let hang = json!({"run": {"image": "busybox", "command": {"argv": ["hang"]}}});
        let build = server.submit(hang).await;
        let path = format!("/api/v1/builds/{build}");
        let cancel = json!({"reason": "enough"});
        let (status, _) = server.ask("POST", &format!("{path}/cancel"), "", cancel).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        server.text(&format!("{path}/logs?follow=1"), "text/plain", None).await;
        let view = server.get(&path).await;
        assert_eq!(view["outcome"]["outcome"], "cancelled");
        assert_eq!(view["stop"]["reason"], "enough");
        let (status, _) = server.ask("POST", &format!("{path}/cancel"), "", Value::Null).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let (status, again) = server.ask("POST", &format!("{path}/retry"), "", Value::Null).await;
        assert_eq!(status, StatusCode::CREATED);
        let path = format!("/api/v1/builds/{}", again["build"].as_str().unwrap());
        assert_eq!(server.get(&path).await["labels"]["kiln.retry_of"], json!(build));
        let force = json!({"force": true});
        server.ask("POST", &format!("{path}/cancel"), "", force).await;
        server.end().await;
    });
}
