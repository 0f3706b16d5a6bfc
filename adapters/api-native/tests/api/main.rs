//! The API over an engine in memory, request by request.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod admin;
mod answers;
mod builds;
mod contexts;
mod document;
mod files;
mod limits;
mod nasty;
mod repeat;
mod server;
mod socket;
