//! The agent as a library: `kiln-agent` is [`Args::run`], and whoever has other effects than those of
//! a Docker engine makes an [`Agent`] of them and calls [`run`]. `docs/agent.md` describes it.

mod args;
mod beat;
mod compose;
mod config;
mod host;
mod janitor;
mod kept;
mod run;

pub use args::Args;
pub use janitor::Leftovers;
pub use run::{Agent, Stop, run};
