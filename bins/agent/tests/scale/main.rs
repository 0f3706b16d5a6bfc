//! Many builds on several servers and agents that are killed, paused and cut off at random: every
//! build ends once, and every log is what its steps printed.
//!
//! `KILN_SCALE_SEED` says which plans and which faults there are, though not when a process gets
//! its turn; `KILN_LONG=1` takes 2,000 builds, `KILN_SCALE_BUILDS` as many as it says.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, what happened, and why it was skipped"
)]

mod dice;
mod laws;
mod line;
mod load;
mod process;
mod runtime;
mod stores;
mod storm;
mod world;

use stores::Place;
use world::{Shape, play};

/// A service of the tests; says so if it is not there.
fn service(test: &str, name: &str) -> Option<Place> {
    if std::env::var_os("KILN_TEST_REAL").is_none_or(|v| v != "1") {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
        return None;
    }
    let Some(path) = std::env::var_os("KILN_TEST_SERVICES") else {
        println!("SKIPPED: {test}: KILN_TEST_SERVICES is not set");
        return None;
    };
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let service = &all["services"][name];
    let found = service["url"].as_str().zip(service["port"].as_u64());
    if found.is_none() {
        println!("SKIPPED: {test}: the service {name} does not run");
    }
    found.map(|(url, port)| Place { url: url.to_owned(), port: port.try_into().unwrap() })
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_share_postgres() {
    let test = "three_servers_share_postgres";
    let Some(postgres) = service(test, "postgres") else { return };
    play(test, Shape { servers: 3, postgres: Some(postgres), redis: None }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_share_a_queue_in_redis() {
    let test = "three_servers_share_a_queue_in_redis";
    let Some(redis) = service(test, "redis") else { return };
    let Some(postgres) = service(test, "postgres") else { return };
    play(test, Shape { servers: 3, postgres: Some(postgres), redis: Some(redis) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_has_sqlite() {
    play("one_server_has_sqlite", Shape { servers: 1, postgres: None, redis: None }).await;
}
