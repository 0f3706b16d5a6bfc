//! Hooks over an engine in memory, request by request: what forges send, and what others try.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod builds;
mod names;
mod server;
mod signatures;
