//! Builds that are cancelled in the queue, and that are repeated from what failed.

use crate::server::{Server, say};
use axum::http::StatusCode;
use kiln::{
    BuildId,
    memory::{MemoryFleet, MemoryQueue},
    port::{Fleet, Queue},
};
use kiln_api_native::Everybody;
use kiln_conformance::sample::node;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Submits a plan whose push works and whose last command does not, and waits for its end.
async fn failed(server: &Server) -> String {
    let plan = json!({"version": 1, "boxes": {"main": {"image": "busybox"}}, "steps": [
        {"name": "build", "op": "build", "recipe": {"kind": "inline", "text": "FROM scratch"}},
        {"name": "push", "op": "push", "image": {"step": 0}, "to": "hub.test/app:1", "needs": [0]},
        {"name": "deploy", "op": "exec", "in_box": "main", "command": {"argv": ["/bin/sh", "-c", "false"]}, "needs": [1]},
        {"name": "again", "op": "push", "image": {"step": 0}, "to": "hub.test/app:2", "needs": [0, 2]},
    ]});
    let build = server.submit(json!({"plan": plan})).await;
    server.text(&format!("/api/v1/builds/{build}/logs?follow=1"), "", None).await;
    format!("/api/v1/builds/{build}")
}

#[test]
fn a_build_goes_on_from_what_failed() {
    kiln_conformance::run("repeat", async {
        let server = Server::new(Everybody);
        let first = failed(&server).await;
        let retry = format!("{first}/retry");
        let from = |from: &str| json!({"from": from});
        let (status, made) = server.ask("POST", &retry, "", from("failed")).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let second = format!("/api/v1/builds/{}", made["build"].as_str().unwrap());
        server.text(&format!("{second}/logs?follow=1"), "", None).await;
        let view = server.get(&second).await;
        let former = json!(first.rsplit('/').next().unwrap());
        let attempts: Vec<_> = (0..4).map(|i| view["step_views"][i]["attempts"].clone()).collect();
        assert_eq!(attempts, [json!(0), json!(0), json!(1), json!(0)], "{view}");
        assert_eq!(view["step_views"][0]["reused_of"], former);
        assert_eq!(view["labels"]["kiln.retry_of"], former);
        let (status, _) = server.ask("POST", &retry, "", from("start")).await;
        assert_eq!(status, StatusCode::CREATED);
        let (status, _) = server.ask("POST", &retry, "", from("nowhere")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let fine = server.submit(say("fine")).await;
        let fine = format!("/api/v1/builds/{fine}");
        server.text(&format!("{fine}/logs?follow=1"), "", None).await;
        let path = format!("{fine}/retry");
        let (status, problem) = server.ask("POST", &path, "", from("failed")).await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")));
        server.end().await;
    });
}

#[test]
fn images_on_a_node_that_is_gone_are_not_gone_on_with() {
    kiln_conformance::run("repeat", async {
        let fleet = Arc::new(MemoryFleet::default());
        let server = Server::with(Everybody, |api| api.fleet(fleet.clone()));
        let retry = failed(&server).await + "/retry";
        let from = json!({"from": "failed"});
        for (known, expected) in [("other", StatusCode::CONFLICT), ("local", StatusCode::CREATED)] {
            fleet.enrol(&node(known, 1)).await.unwrap();
            let (status, told) = server.ask("POST", &retry, "", from.clone()).await;
            assert_eq!(status, expected, "{told}");
        }
        server.end().await;
    });
}

#[test]
fn a_queued_build_leaves_the_queue_when_it_is_cancelled() {
    kiln_conformance::run("repeat", async {
        let queue = Arc::new(MemoryQueue::default());
        let server = Server::idle(queue.clone());
        let build = server.submit(say("never")).await;
        let path = format!("/api/v1/builds/{build}");
        let (status, _) = server.ask("POST", &format!("{path}/cancel"), "", Value::Null).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_eq!(server.get(&path).await["outcome"]["outcome"], "cancelled");
        let listed = server.get("/api/v1/builds?outcome=cancelled").await;
        assert_eq!(listed["builds"][0]["build"], json!(build));
        // Its log has ended.
        server.text(&format!("{path}/logs?follow=1"), "", None).await;
        let (node, ttl) = (node("n", 1), Duration::from_secs(9));
        assert_eq!(queue.lease(&node, ttl, Duration::ZERO).await.unwrap(), None);
        assert!(!queue.remove(&BuildId::new(&build).unwrap()).await.unwrap());
        let journal = server.get(&format!("{path}/journal")).await;
        assert_eq!(journal[0]["by"], json!({"owner": "local"}));
        assert_eq!(journal[1]["by"], json!({"owner": "local"}));
        server.end().await;
    });
}
