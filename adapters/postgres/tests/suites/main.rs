//! What this adapter promises, in one program, which some of the tests start once more as another
//! process.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]
#![expect(clippy::print_stdout, reason = "what is skipped is said, and what a child did")]

mod common;
mod connect;
mod crash;
mod faults;
mod golden;
mod own;
mod promises;
mod texts;
mod tls;
mod together;
