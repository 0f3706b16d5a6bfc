//! Keeps journals, the index of builds, the queue, the fleet and logs in PostgreSQL, 13 or later,
//! for any number of servers at once.
//!
//! A write is durable when it returns, as far as the server's `synchronous_commit` goes. Writes that
//! come together share one transaction, and so one wait for the disk; each has its own answer. Who
//! waits is woken by `NOTIFY` over one connection, and asks nothing meanwhile. The schema is in
//! `migrations`, its version in the table `kiln_schema`; a schema of a newer version, or with other
//! tables, is refused.
//!
//! Calls need the tokio runtime in which the handle was connected.

mod client;
mod config;
mod due;
mod error;
mod fleet;
mod index;
mod lines;
mod log;
mod news;
#[cfg(test)]
mod plans;
mod queue;
mod schema;
mod store;
mod tls;
mod writer;

pub use client::PgDb;
pub use config::PgConfig;
pub use fleet::PgFleet;
pub use index::PgIndex;
pub use log::PgLogs;
pub use queue::PgQueue;
pub use store::PgStore;
