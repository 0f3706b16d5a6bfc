use crate::{BuildId, Event, Recorded, Result, Seq, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, time::Duration};

/// An event to be written, with the time it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the writer's clock.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The journal of every build, and the only durable truth.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Appends events to the journal that ends at `after`; returns the new end.
    ///
    /// # Promises
    ///
    /// - All events are stored, or none; a reader never sees a part.
    /// - If the journal does not end at `after`, nothing is stored and the error is `Conflict`.
    ///   A build nobody knows ends at [`Seq::START`].
    /// - Of appends that race for one place, exactly one succeeds.
    /// - Once it returned, every later `load` sees the events, also after a crash of the machine
    ///   for adapters that are durable.
    /// - Appending nothing stores nothing, and still checks `after`.
    /// - A cancelled call has stored all or nothing.
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq>;

    /// Loads the journal after a place, in order.
    ///
    /// # Promises
    ///
    /// - A build nobody knows is `NotFound`; a known one with nothing after `after` is empty.
    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>>;

    /// Waits until the journal has an event after `after`, or until patience is over; returns
    /// whether it has.
    ///
    /// # Promises
    ///
    /// - If there is one already, it returns at once; it never misses one.
    /// - Appends by other processes are seen too, within a second.
    /// - Waiting for a build nobody knows waits for it to come.
    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool>;

    /// Lists the builds whose journal does not end with `Finished`, in no order.
    async fn unfinished(&self) -> Result<Vec<BuildId>>;

    /// Forgets a build.
    ///
    /// # Promises
    ///
    /// - Forgetting a build nobody knows succeeds.
    async fn forget(&self, build: &BuildId) -> Result<()>;
}
