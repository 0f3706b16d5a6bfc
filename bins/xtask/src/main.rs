//! Development tasks: `cargo xtask help` lists them.
//!
//! This crate builds with nothing but the Rust toolchain, in seconds, because it is what installs
//! everything else.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod bench;
mod demo;
mod error;
mod golden;
mod guard;
mod help;
mod http;
mod layout;
mod packages;
mod process;
mod services;
mod test;
mod tidy;

use error::{Failure, Result};
use layout::Layout;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}\n\n`cargo xtask help` lists the commands.");
            ExitCode::from(2)
        }
        Err(Failure::Task(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Said) => ExitCode::FAILURE,
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => return Err(Failure::Usage("name a command".into())),
    };
    if rest.iter().any(|arg| arg == "--help" || arg == "-h") {
        return help::run(&[command.to_owned()]);
    }
    match command {
        "help" | "--help" | "-h" => help::run(rest),
        "services" => services::run(&Layout::find()?, rest),
        "demo" => demo::run(&Layout::find()?, rest),
        "bench" => bench::run(&Layout::find()?, rest),
        "golden" => golden::run(&Layout::find()?, rest),
        "test" => test::run(&Layout::find()?, rest),
        guard::COMMAND => guard::watch(),
        "tidy" => tidy::run(&Layout::find()?, rest),
        other => Err(Failure::Usage(format!("there is no command `{other}`"))),
    }
}
