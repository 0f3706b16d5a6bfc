//! What this adapter promises, on a real server: s3s-fs, which checks every signature and checksum.
//! What that server never does is played by a stand-in, and the test's name says so.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and that it was skipped by printing"
)]

mod hostile;
mod large;
mod layout;
mod links;
mod parts;
mod promises;
mod refusals;
mod sweep;
mod tls;
