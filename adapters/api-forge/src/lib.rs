//! Starts builds from what GitHub, GitLab and Gitea tell: `POST /hooks/{name}`.
//!
//! Each hook is configured: who sends and signs, which events count, and what is built then.
//! `docs/hooks.md` describes it for operators. It keeps nothing: the id of a build is made of what
//! was sent, so what is sent again starts nothing again, also after a restart.

mod accept;
mod config;
mod filter;
mod forge;
mod glob;
mod hook;
mod plan;
mod problem;
mod routes;
mod signature;
mod template;
mod wire;

pub use config::{BuildConfig, Forge, HookConfig, Trigger};
pub use routes::{Hooks, router};
