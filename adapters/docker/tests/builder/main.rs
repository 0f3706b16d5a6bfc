//! The builder against a real engine: in a session, from an archive, and with the classic builder.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and say why it does not run"
)]

mod bench;
mod cancel;
mod errors;
mod session;
mod suite;
