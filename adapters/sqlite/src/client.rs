//! One connection on a thread of its own; calls are closures that wait their turn.

use crate::{error::translate, index::SqliteIndex, store::SqliteStore};
use futures::channel::oneshot;
use kiln::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{path::Path, sync::mpsc, time::Duration};
use tokio::sync::watch;

/// Marks the file as ours: "KILN" in ASCII.
const APPLICATION_ID: i64 = 0x4b49_4c4e;
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001.sql")];

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A SQLite file. Clones share one connection.
#[derive(Clone, Debug)]
pub struct SqliteDb {
    jobs: mpsc::Sender<Job>,
    /// Changes whenever this process wrote.
    pub(crate) written: watch::Sender<u64>,
}

impl SqliteDb {
    /// Opens the file, and makes it or brings it up to date where needed.
    ///
    /// `Unsupported` if a newer version of Kiln wrote it; `Corrupt` if it is no such file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut connection = prepare(path).map_err(|e| e.with("file", path.display()))?;
        let (jobs, todo) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("kiln-sqlite".into())
            .spawn(move || todo.into_iter().for_each(|job| job(&mut connection)))
            .map_err(|e| Error::new(ErrorKind::Exhausted, "Sqlite::open", e.to_string()))?;
        Ok(Self { jobs, written: watch::Sender::new(0) })
    }

    /// The journals in the file.
    pub fn store(&self) -> SqliteStore {
        SqliteStore::new(self.clone())
    }

    /// The index in the file.
    pub fn index(&self) -> SqliteIndex {
        SqliteIndex::new(self.clone())
    }

    /// Runs a closure on the connection, in a transaction that is committed if it succeeds.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self
            .run(op, move |connection| {
                let wrong = |e| translate(op, e);
                let transaction = connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)
                    .map_err(wrong)?;
                let value = work(&transaction)?;
                transaction.commit().map_err(wrong)?;
                Ok(value)
            })
            .await;
        self.written.send_modify(|n| *n += 1);
        done
    }

    /// Runs a closure on the connection.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::new(ErrorKind::Unexpected, op, "the database thread ended");
        let job: Job = Box::new(move |connection| {
            // Whoever asked may be gone; the work is done all the same.
            let _ = answer.send(work(connection));
        });
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn prepare(path: &Path) -> Result<Connection> {
    const OP: &str = "Sqlite::open";
    let wrong = |e| translate(OP, e);
    let mut connection = Connection::open(path).map_err(wrong)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(wrong)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(wrong)?;
    connection.pragma_update(None, "synchronous", "full").map_err(wrong)?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
    let version: usize = transaction
        .query_row("SELECT user_version FROM pragma_user_version", [], |r| r.get(0))
        .map_err(wrong)?;
    if version > MIGRATIONS.len() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            OP,
            "a newer version of Kiln wrote this file",
        )
        .with("schema", version)
        .with("known", MIGRATIONS.len())
        .hint("Use that version, or another data directory."));
    }
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration).map_err(wrong)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(wrong)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(wrong)?;
    transaction.commit().map_err(wrong)?;
    Ok(connection)
}
