//! Kiln's own HTTP API, below `/api/v1`: builds are submitted, listed, shown, cancelled and
//! repeated, their logs followed and their artifacts fetched; nodes and tokens are looked after.
//! `docs/api.md` describes it for clients, and `/api/v1/openapi.json` for programs.
//!
//! It keeps nothing: a build is in the engine's store, its turn in the queue, and whoever leases
//! it drives it.

mod access;
mod ask;
mod body;
mod limits;
mod plan;
mod problem;
mod routes;
mod schema;
mod settings;
mod tokens;
mod upload;
mod view;
mod wire;

pub use access::{Access, Caller, Everybody, Scope};
pub use limits::Rate;
pub use problem::Problem;
pub use routes::{Api, openapi, router};
pub use settings::Settings;
pub use tokens::{TokenBook, TokenInfo};
pub use wire::{
    Artifact, Artifacts, Build, Commit, LogLine, NewToken, Nodes, Page, Pipeline, Ready, Run, Says,
    Source, Submit, Submitted, Tokens, Trouble, Uploaded, Verified, Verify, WhoAmI,
};
