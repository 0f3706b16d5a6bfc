//! The protocol as it is stored in `tests/golden/agent`, one file a version: whatever agents of
//! these versions ask, they get the answer that was written down.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod common;

use axum::body::Body;
use common::{Exchange, ask, hex, newer, read, write};
use http_body_util::BodyExt;
use kiln::{
    BoxName, BoxSpec, BuildId, Engine, Op, Owner, Plan, Secret, SecretRef, Step, Submission,
    Timestamp, Toolbox, Value,
    memory::{MemoryFleet, MemoryLog, MemoryQueue, MemorySecrets, MemoryStore, VirtualClock},
    port::{Job, Queue},
};
use kiln_api_agent::{AgentApi, Everybody, Scope, router};
use kiln_conformance::sample::image;
use std::{sync::Arc, time::Duration};
use tower::ServiceExt;

fn plan() -> Plan {
    let mut plan = Plan::builder();
    let name = BoxName::new("main").unwrap();
    let mut spec = BoxSpec::new(image("busybox"));
    spec.env.insert("T".into(), Value::Secret(SecretRef::new("token").unwrap()));
    plan.add_box(name.clone(), spec);
    let command = kiln::Command::new(["true"]);
    plan.step(Step::new("run", Op::Exec { in_box: name, command }));
    plan.finish().unwrap()
}

/// A server at one moment in time, with one build to drive.
async fn server() -> axum::Router {
    let clock = Arc::new(VirtualClock::at(Timestamp(1_000_000)));
    let log = Arc::new(MemoryLog::with_clock(clock.clone()));
    let secrets = MemorySecrets::default();
    let ann = Owner::new("ann").unwrap();
    secrets.set(ann.clone(), SecretRef::new("token").unwrap(), Secret::new("s3cret"));
    let tools = Toolbox {
        store: Arc::new(MemoryStore::with_clock(clock.clone())),
        log_sink: log.clone(),
        log_reader: log,
        secrets: Arc::new(secrets),
        clock: clock.clone(),
        ..Toolbox::default()
    };
    let (engine, queue) =
        (Engine::builder().toolbox(tools).build(), Arc::new(MemoryQueue::with_clock(clock)));
    let build = BuildId::new("b1").unwrap();
    engine.accept(Submission::new(plan()).id(build.clone()).owner(ann.clone())).await.unwrap();
    queue.push(Job::new(build, ann)).await.unwrap();
    router(AgentApi {
        engine,
        queue,
        fleet: Arc::new(MemoryFleet::default()),
        access: Arc::new(Everybody(Scope::Agent)),
        hold_back: Duration::ZERO,
    })
}

/// Asks all that the exchanges ask, in their order; returns them with the answers that came.
async fn replay(version: &str, exchanges: &[Exchange]) -> Vec<Exchange> {
    let server = server().await;
    let mut answered = Vec::new();
    for exchange in exchanges {
        let request = ask(version, &exchange.request).map(Body::from);
        let (head, body) = server.clone().oneshot(request).await.unwrap().into_parts();
        assert_eq!(head.headers["kiln-agent-version"], "1.1");
        let body = body.collect().await.unwrap().to_bytes();
        answered.push(exchange.answered(&head, &body));
    }
    answered
}

fn test(name: &str, work: impl Future<Output = ()>) {
    kiln_conformance::run(name, work);
}

#[test]
fn an_agent_of_this_version_is_answered_as_written_down() {
    test("golden 1.1", async {
        let golden = read("1.1");
        let answered = replay("1.1", &golden).await;
        if std::env::var_os("KILN_BLESS").is_some() {
            write("1.1", &answered);
            return;
        }
        for (answered, golden) in answered.iter().zip(&golden) {
            assert_eq!(answered.response, golden.response, "{:?}", golden.request);
        }
    });
}

/// Whatever an older agent knows is there still, and what is new it passes over.
#[test]
fn an_agent_one_minor_version_older_is_answered() {
    test("golden 1.0", async {
        let golden = read("1.0");
        let answered = replay("1.0", &golden).await;
        for (answered, golden) in answered.iter().zip(&golden) {
            let holds = answered.response.holds(&golden.response);
            assert!(holds, "{:?}: {:?}", golden.request, answered.response);
        }
    });
}

#[test]
fn an_agent_one_minor_version_newer_is_answered() {
    test("golden 1.2", async {
        let golden = read("1.1");
        let newer: Vec<_> = golden.iter().map(|e| e.map_request(newer)).collect();
        for (answered, golden) in replay("1.2", &newer).await.iter().zip(&golden) {
            assert_eq!(answered.response, golden.response, "{:?}", golden.request);
        }
    });
}

#[test]
fn an_agent_further_away_is_told_what_to_do() {
    test("golden 1.3", async {
        for (version, word) in [("1.3", "Update the server"), ("0.9", "Update the agent")] {
            for exchange in replay(version, &read("1.1")).await {
                assert_eq!(exchange.response.status, 501);
                let json = exchange.response.json.unwrap();
                assert_eq!(json["code"], "unsupported");
                assert!(json["hint"].as_str().unwrap().starts_with(word), "{json}");
            }
        }
    });
}

#[test]
fn bytes_are_written_as_digits() {
    assert_eq!(hex(b"\x00\xff"), "00ff");
}
