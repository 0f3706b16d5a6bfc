//! Ways to an engine: sockets, TLS with good and bad certificates, and engines that are not there.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and that it was skipped by printing"
)]

mod absent;
mod authority;
mod secure;
