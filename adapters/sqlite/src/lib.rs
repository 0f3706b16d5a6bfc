//! Keeps journals, the index of builds, the queue and the fleet in one SQLite file.
//!
//! A write is durable when it returns: the file is in WAL mode with `synchronous = FULL`. Writes
//! that come together share one transaction, and so one wait for the disk; each has its own answer.
//! Reads have connections of their own and wait for no write. Several processes of one machine may
//! share the file. The schema is in `migrations`, its version in `PRAGMA user_version`; a file of a
//! newer version, or of another program, is refused.
//!
//! Calls need a tokio runtime.

mod client;
mod error;
mod fleet;
mod index;
mod news;
mod open;
mod queue;
mod readers;
mod store;
mod turn;
mod writer;

pub use client::SqliteDb;
pub use fleet::SqliteFleet;
pub use index::SqliteIndex;
pub use queue::SqliteQueue;
pub use store::SqliteStore;
