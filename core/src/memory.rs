//! The reference adapters: every port in memory, small and strict, and the first to pass every
//! suite of the conformance crate.
//!
//! They make the engine run without a daemon, a network or a disk, in examples and in tests. None
//! needs an async runtime: what waits is woken by whoever brings the news, or by a [`Clock`].
//!
//! The effects (source, builder, runtime, …) pretend: a [`MemoryHost`] is the machine they share,
//! and the commands they understand are listed at [`MemoryRuntime`].
//!
//! [`Clock`]: crate::port::Clock

mod artifacts;
mod builder;
mod clock;
mod containers;
mod fleet;
mod host;
mod index;
mod log;
mod notifier;
mod publisher;
mod queue;
mod registry;
mod runtime;
mod scanner;
mod script;
mod secrets;
mod signal;
mod source;
mod store;
mod tar;
mod virtual_clock;
mod workspaces;

pub use artifacts::MemoryArtifacts;
pub use builder::MemoryBuilder;
pub use clock::SystemClock;
pub use containers::MemoryContainers;
pub use fleet::MemoryFleet;
pub use host::MemoryHost;
pub use index::MemoryIndex;
pub use log::MemoryLog;
pub use notifier::MemoryNotifier;
pub use publisher::MemoryPublisher;
pub use queue::MemoryQueue;
pub use registry::MemoryRegistry;
pub use runtime::MemoryRuntime;
pub use scanner::MemoryScanner;
pub use secrets::MemorySecrets;
pub use source::MemorySource;
pub use store::MemoryStore;
pub use virtual_clock::VirtualClock;
pub use workspaces::MemoryWorkspaces;

use crate::image::Digest;
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guard of a mutex, also after a panic elsewhere: no adapter leaves a state half changed.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The SHA-256 of bytes.
fn sha256(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}
