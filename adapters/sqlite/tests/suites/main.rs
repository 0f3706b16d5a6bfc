//! What this adapter promises, in one program, which some of the tests start once more as another
//! process.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod common;
mod crash;
mod golden;
mod open;
mod promises;
mod together;
