//! The registry port on a real engine and real registries. See `docs/development.md`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and that it was skipped by printing"
)]

mod names;
mod parts;
mod refusals;
mod size;
mod suite;
