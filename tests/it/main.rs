//! Integration tests: one binary, so that they link once.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod drive;
mod machine;
mod play;
mod scenarios;
mod simulation;
