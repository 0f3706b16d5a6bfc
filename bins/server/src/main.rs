//! The kiln server: configuration in, adapters chosen, builds driven.

mod args;
mod compose;
mod config;
mod guard;
mod serve;
mod tokens;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    args::Args::parse().run().await
}
