//! The agent as a process, with a server that is another one: killed, paused, told to stop.
//!
//! Without `KILN_TEST_REAL=1` only what needs no Docker engine runs. `cargo xtask test` sets it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and why it was skipped"
)]

#[path = "../base/mod.rs"]
mod base;
mod bench;
mod deploy;
mod disk;
mod ends;
mod kills;
mod server;
