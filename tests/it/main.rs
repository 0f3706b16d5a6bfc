//! Integration tests: one binary, so that they link once.

mod drive;
mod machine;
mod play;
mod scenarios;
mod simulation;
