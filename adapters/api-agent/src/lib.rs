//! What agents ask the server for, below `/agent/v1`: builds to drive, and all that a driver
//! remembers. `docs/agent.md` describes the protocol; `kiln-remote` is its other side.
//!
//! It keeps nothing that has to last: leases are the queue's, and which of them this process has
//! checked is forgotten with it.

mod access;
mod body;
mod fence;
mod gate;
mod problem;
mod routes;
mod version;
mod wire;

pub use access::{Access, Caller, Everybody, Scope};
pub use routes::{AgentApi, router};
