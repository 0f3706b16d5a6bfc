//! Kiln's own HTTP API, below `/api/v1`: builds are submitted, listed, shown, cancelled and
//! repeated, and their logs followed. `docs/api.md` describes it for clients.
//!
//! It keeps nothing: a build is in the engine's store, its turn in the queue, and whoever leases
//! it drives it.

mod access;
mod plan;
mod problem;
mod routes;
mod view;
mod wire;

pub use access::{Access, Caller, Everybody, Scope};
pub use problem::Problem;
pub use routes::{Api, router};
pub use wire::{Build, Commit, LogLine, Page, Run, Says, Source, Submit, Submitted};
