//! A server's ports over the agent protocol, in one program: the adapters of `kiln-remote` against
//! `kiln-api-agent` on a real socket.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod caches;
mod fence;
mod flaky;
mod served;
mod suites;
mod uploads;
