//! Notifiers against a receiver on this machine. It stands in for the forges, whose real servers
//! are not to be had here: it takes what they document, and answers as it is told.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod receiver;
mod status;
mod webhook;
