//! The `kiln` command.

mod args;
mod build;
mod doctor;
mod history;
mod home;
mod keep;
mod print;
mod screen;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args = args::Args::parse();
    match args.run().await {
        Ok(code) => code.into(),
        Err(e) => print::failure(&e),
    }
}
