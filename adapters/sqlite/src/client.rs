//! A SQLite file: one writer, some readers, and who waits for news of it.

use crate::{
    error::Stop,
    fleet::SqliteFleet,
    index::SqliteIndex,
    news::{News, Topic},
    open,
    queue::SqliteQueue,
    readers::Readers,
    store::SqliteStore,
    writer::Writer,
};
use kiln::{Result, memory::SystemClock};
use rusqlite::Connection;
use std::{path::Path, sync::Arc};

/// A SQLite file. Clones share its connections.
#[derive(Clone, Debug)]
pub struct SqliteDb {
    writer: Writer,
    readers: Readers,
    pub(crate) news: Arc<News>,
}

impl SqliteDb {
    /// Opens the file, and makes it (for its owner only) or brings it up to date where needed.
    /// Waits up to 5 seconds for other processes that hold it; later calls do the same.
    ///
    /// `Invalid` if it is another program's database, which is left as it is; `Unsupported` if a
    /// newer version of Kiln wrote it, or its file system cannot share it; `Corrupt` if it is no
    /// database; `Denied` if it cannot be written; `Exhausted` if the disk is full.
    pub fn open(path: &Path) -> Result<Self> {
        let named = |e: kiln::Error| e.with("file", path.display());
        let (connection, whole) = open::open(path).map_err(named)?;
        let news = News::of(&whole).map_err(named)?;
        let writer = Writer::start(connection, news.clone()).map_err(named)?;
        Ok(Self { writer, readers: Readers::of(whole), news })
    }

    /// The journals in the file.
    pub fn store(&self) -> SqliteStore {
        SqliteStore::new(self.clone())
    }

    /// The index in the file.
    pub fn index(&self) -> SqliteIndex {
        SqliteIndex::new(self.clone())
    }

    /// The queue in the file. Its leases expire by the clock of the machine.
    pub fn queue(&self) -> SqliteQueue {
        SqliteQueue::with_clock(self, Arc::new(SystemClock::default()))
    }

    /// The fleet in the file.
    pub fn fleet(&self) -> SqliteFleet {
        SqliteFleet::new(self.clone())
    }

    /// Runs a closure in a transaction of its own or one that it shares; what it wrote is undone
    /// if it fails, durable when this returns, and told of as news. A call that is dropped before
    /// its turn came does nothing.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        op: &'static str,
        topic: Topic,
        work: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(op, topic, work).await
    }

    /// Runs a closure on a connection that only reads; it sees every write that returned before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        self.readers.read(op, work).await
    }
}
