//! Everything the engine asks of the outside world: one file a port, one idea a port.
//!
//! Each port is object-safe and has at most five required methods. The documentation of a method
//! lists its promises; each is a function in the conformance crate, which runs on every adapter
//! and on every wrapping layer. No adapter retries by itself: that is what layers are for.

mod artifacts;
mod builder;
mod clock;
mod containers;
mod fleet;
mod frame;
mod index;
mod log;
mod notifier;
mod planner;
mod publisher;
mod queue;
mod registry;
mod runtime;
mod scanner;
mod secrets;
mod source;
mod store;
mod workspaces;

pub use artifacts::{ArtifactKey, ArtifactStore, ByteStream};
pub use builder::Builder;
pub use clock::Clock;
pub use containers::Containers;
pub use fleet::{Fleet, Node};
pub use frame::{pack, unpack};
pub use index::{BuildFilter, BuildSummary, Index, Page, PageToken};
pub use log::{
    LogBody, LogPage, LogReader, LogReaderExt, LogRecord, LogSink, Offset, Progress, ProgressUnit,
    RECORD_BYTES_MAX, StepEnd, Stream,
};
pub use notifier::{Notice, Notifier};
pub use planner::{PlanAsk, PlanSources, Planner};
pub use publisher::Publisher;
pub use queue::{Job, Lease, Queue, Settlement};
pub use registry::{PushSpec, Registry};
pub use runtime::{BoxHandle, Exit, Runtime};
pub use scanner::Scanner;
pub use secrets::Secrets;
pub use source::Source;
pub use store::{Entry, Store};
pub use workspaces::Workspaces;
