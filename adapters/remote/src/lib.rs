//! Reaches a server from an agent: a driver's memory, its queue and its secrets over `/agent/v1`.
//! `docs/agent.md` describes the protocol; `kiln-api-agent` is its other side.
//!
//! [`RemoteClient`] is the way there; it remembers which leases it was given and shows them. Nothing
//! here tries again: what a server that is away costs is told as `Unavailable`, and layers and
//! drivers know how long to wait. The conformance suites run over a real server in the tests of
//! `kiln-agent`, since no adapter knows another.

mod artifacts;
mod ask;
mod client;
mod config;
mod error;
mod fleet;
mod index;
mod log;
mod queue;
mod secrets;
mod store;
mod version;
mod wire;

pub use artifacts::RemoteArtifacts;
pub use client::RemoteClient;
pub use config::RemoteConfig;
pub use fleet::RemoteFleet;
pub use index::RemoteIndex;
pub use log::RemoteLogs;
pub use queue::RemoteQueue;
pub use secrets::RemoteSecrets;
pub use store::RemoteStore;
