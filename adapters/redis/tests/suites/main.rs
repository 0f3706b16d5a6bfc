//! What this adapter promises, on real servers that the tests start for themselves.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod common;
mod durable;
mod faults;
mod golden;
mod many;
mod model;
mod promises;
mod server;
mod tls;
