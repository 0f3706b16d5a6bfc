//! The `kiln` command.

mod args;
mod artifacts;
mod backend;
mod build;
mod builds;
mod cancel;
mod doctor;
mod home;
mod instructions;
mod lines;
mod login;
mod logs;
mod manual;
mod nodes;
mod planner;
mod print;
mod prune;
mod remote;
mod retry;
mod run;
mod screen;
mod show;
mod text;
mod tokens;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            // What could not be read cannot say how errors are wanted, but the words are there.
            if e.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
                print::wrong_use(&e.to_string());
                return print::end(args::Exit::Usage);
            }
            e.exit()
        }
    };
    let json = args.json();
    let exit = args.run().await.unwrap_or_else(|e| print::failure(&e, json));
    print::end(exit)
}
