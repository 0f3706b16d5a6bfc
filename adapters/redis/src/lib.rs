//! Keeps queue, fleet, journals and logs in Redis 7 or newer, or Valkey; not in a cluster.
//!
//! Every change is one script within the server, and so happens whole or not at all. The keys and
//! their version are described in `docs/redis.md`; a newer version is refused. Who waits is woken by
//! a message of the server, over one connection for the whole handle, and then looks at the keys:
//! messages may get lost, changes do not.
//!
//! How much of what was acknowledged outlives a crash is decided by the server's settings, which
//! [`RedisDb::durability`] tells; journals are refused where it is too little.
//!
//! Calls need a tokio runtime.

mod client;
mod config;
mod due;
mod durability;
mod error;
mod fleet;
mod flight;
mod index;
mod link;
mod logs;
mod news;
mod open;
mod piece;
mod queue;
mod script;
mod store;
mod wire;

pub use client::RedisDb;
pub use config::{RedisConfig, Require};
pub use durability::{Durability, Level};
pub use fleet::RedisFleet;
pub use index::RedisIndex;
pub use logs::RedisLogs;
pub use queue::RedisQueue;
pub use store::RedisStore;
