//! The registry of steps over HTTP, against a small server of its own.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod find;
mod publish;
mod server;
