//! A PostgreSQL server: connections that read, some that write, and one that listens.

use crate::{
    config::PgConfig,
    due::Due,
    fleet::PgFleet,
    index::PgIndex,
    lines::{Lines, Param},
    log::PgLogs,
    news::{self, Ear, News, Topic, Until},
    queue::PgQueue,
    schema,
    store::PgStore,
    writer::Writer,
};
use kiln::Result;
use std::sync::Arc;
use tokio_postgres::{Row, types::Type};

/// How many transactions write at once: while one waits for the disk, another is worked on.
const WRITERS: usize = 2;

/// A database of a PostgreSQL server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct PgDb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    readers: Lines,
    writer: Writer,
    /// Leases are given one after the other, and so have a transaction of their own to share.
    leases: Writer,
    news: Arc<News>,
    due: Due,
    _listening: Until,
}

impl PgDb {
    /// Connects, and makes the schema or brings it up to date where needed; of several that do so at
    /// once one does it. Connections that break later are made anew as they are needed: calls
    /// meanwhile are `Unavailable`.
    ///
    /// `Unavailable` if the server cannot be reached; `Denied` if it refuses the user, or its
    /// certificate is not good; `Invalid` if there is no such database, or the schema is not Kiln's;
    /// `Unsupported` if the server is too old, or a newer version of Kiln made the schema.
    pub async fn connect(config: &PgConfig) -> Result<Self> {
        let readers = Lines::new(config, config.readers)?;
        schema::ensure(&readers, config).await?;
        let writers = Lines::new(config, WRITERS + 1)?;
        let news = Arc::new(News::default());
        Ok(Self(Arc::new(Inner {
            readers,
            writer: Writer::start(&writers, WRITERS),
            leases: Writer::start(&writers, 1),
            _listening: news::listen(config, &news)?,
            news,
            due: Due::default(),
        })))
    }

    /// The journals in the database.
    pub fn store(&self) -> PgStore {
        PgStore::new(self.clone())
    }

    /// The index in the database.
    pub fn index(&self) -> PgIndex {
        PgIndex::new(self.clone())
    }

    /// The queue in the database. Its leases expire by the clock of the server.
    pub fn queue(&self) -> PgQueue {
        PgQueue::new(self.clone())
    }

    /// The fleet in the database.
    pub fn fleet(&self) -> PgFleet {
        PgFleet::new(self.clone())
    }

    /// The logs in the database.
    pub fn logs(&self) -> PgLogs {
        PgLogs::new(self.clone())
    }

    /// Runs a statement that writes about one thing, which `key` names.
    pub(crate) async fn write(
        &self,
        op: &'static str,
        key: &str,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<Row>> {
        self.0.writer.write(op, key, sql, params).await
    }

    /// Runs a statement that leases.
    pub(crate) async fn lease(
        &self,
        op: &'static str,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<Row>> {
        self.0.leases.write(op, "", sql, params).await
    }

    /// Runs a statement that only reads; it sees every write that returned before.
    pub(crate) async fn read(
        &self,
        op: &'static str,
        sql: &str,
        params: &[Param],
    ) -> Result<Vec<Row>> {
        self.0.readers.ask(sql, params).await.map_err(|fault| fault.told(op))
    }

    /// As [`PgDb::read`], for a statement that is like no other.
    pub(crate) async fn read_once(
        &self,
        op: &'static str,
        sql: &str,
        params: &[(Param, Type)],
    ) -> Result<Vec<Row>> {
        self.0.readers.ask_once(sql, params).await.map_err(|fault| fault.told(op))
    }

    /// Until when leases may be given.
    pub(crate) fn due(&self) -> &Due {
        &self.0.due
    }

    /// Whoever asks before looking misses no change after the look.
    pub(crate) fn news(&self, of: Topic) -> Ear {
        self.0.news.of(of)
    }
}
