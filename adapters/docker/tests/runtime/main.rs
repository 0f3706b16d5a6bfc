//! The runtime and the containers of a real engine. See `docs/development.md`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and that it was skipped by printing"
)]

mod commands;
mod commits;
mod keeps;
mod kills;
mod parts;
mod pulls;
mod services;
mod sessions;
mod shells;
mod stops;
mod suite;
mod sweeps;
