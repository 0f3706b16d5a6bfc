//! Stores that stand still or die while builds run, through `kiln-server` alone and with
//! `kiln-agent`: builds go on or wait, and none is lost or failed for it.
//!
//! `KILN_LONG=1` takes an outage of a minute, which no lease outlives; else it is five seconds.
//! Without `KILN_TEST_REAL=1` nothing runs. `cargo xtask test` sets it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, what happened, and why it was skipped"
)]

#[path = "../base/mod.rs"]
mod base;
mod builds;
mod store;
mod world;

use std::{path::PathBuf, time::Duration};
use store::{Kind, Store};
use world::{Drivers, World};

/// How long a store is away.
fn outage() -> Duration {
    Duration::from_secs(if std::env::var_os("KILN_LONG").is_some() { 60 } else { 5 })
}

/// The server's program, which is built beside the agent's; a word why where a test cannot run.
fn program(test: &str) -> Option<PathBuf> {
    if std::env::var_os("KILN_TEST_REAL").is_none_or(|v| v != "1") {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
        return None;
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_kiln-agent")).with_file_name("kiln-server");
    assert!(
        program.exists(),
        "there is no {}: run `cargo build -p kiln-server`",
        program.display()
    );
    Some(program)
}

/// Plays both kinds of outages of a store, in the middle of builds.
async fn play(test: &str, kind: Kind, drivers: Drivers) {
    let Some(program) = program(test) else { return };
    let Some(mut store) = Store::start(test, kind) else { return };
    base::base_image();
    let world = World::start(program, &store, drivers).await;
    let all = world.submit("before", outage()).await;
    world.begun(&all).await;
    println!("{test}: the store stands still");
    store.pause();
    let meanwhile = world.submit_meanwhile("paused", outage()).await;
    store.go_on();
    world.all_end_well(all.into_iter().chain([meanwhile.await.unwrap()])).await;
    let all = world.submit("between", outage()).await;
    world.begun(&all).await;
    println!("{test}: the store is killed");
    store.kill();
    let meanwhile = world.submit_meanwhile("killed", outage()).await;
    store.begin();
    world.all_end_well(all.into_iter().chain([meanwhile.await.unwrap()])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_away_from_a_server_alone() {
    play("postgres_away_from_a_server_alone", Kind::Postgres, Drivers::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_away_from_a_server_with_agents() {
    play("postgres_away_from_a_server_with_agents", Kind::Postgres, Drivers::Agents).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_from_a_server_alone() {
    play("redis_away_from_a_server_alone", Kind::Redis, Drivers::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_from_a_server_with_agents() {
    play("redis_away_from_a_server_with_agents", Kind::Redis, Drivers::Agents).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_away_from_a_server_alone() {
    play("s3_away_from_a_server_alone", Kind::S3, Drivers::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_away_from_a_server_with_agents() {
    play("s3_away_from_a_server_with_agents", Kind::S3, Drivers::Agents).await;
}
