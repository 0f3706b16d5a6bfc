//! The kiln agent: builds of a server, driven on this machine.

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    kiln_agent::Args::parse().run().await
}
