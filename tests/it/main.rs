//! Integration tests: one binary, so that they link once.

mod play;
mod scenarios;
mod simulation;
