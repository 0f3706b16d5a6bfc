//! Integration tests: one binary, so that they link once.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test tells by panicking, and the simulation tells its seed"
)]

mod drive;
mod golden;
mod machine;
mod play;
mod scenarios;
mod simulation;
mod worker;
