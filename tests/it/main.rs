//! Integration tests: one binary, so that they link once.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test tells by panicking, the simulation its seed, and what was skipped says so"
)]

mod archive;
mod caches;
mod cancel;
mod courier;
mod drive;
mod followers;
mod golden;
mod grown;
mod kept;
mod machine;
mod play;
mod reuse;
mod scenarios;
mod simulation;
mod told;
mod wercker;
mod worker;
