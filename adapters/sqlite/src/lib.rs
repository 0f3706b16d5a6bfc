//! Keeps journals and the index of builds in one SQLite file.
//!
//! An append is durable when it returns: the file is in WAL mode with `synchronous = FULL`.
//! Several processes may share the file. The schema is in `migrations`, its version in
//! `PRAGMA user_version`; a file of a newer version is refused.

mod client;
mod error;
mod index;
mod store;

pub use client::SqliteDb;
pub use index::SqliteIndex;
pub use store::SqliteStore;
