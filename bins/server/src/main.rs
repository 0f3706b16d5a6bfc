//! The kiln server: configuration in, adapters chosen, builds driven.

mod archive;
mod args;
mod compose;
mod config;
mod guard;
mod limits;
mod listen;
mod member;
mod notify;
mod recovery;
mod requeue;
mod retention;
mod serve;
mod telemetry;
mod tokens;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    args::Args::parse().run().await
}
