//! Connections that only read. In WAL mode they wait for no writer, and no writer for them.

use crate::{error::Stop, open};
use kiln::{Error, ErrorKind, Result};
use rusqlite::Connection;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// How many reads run side by side; others wait their turn.
const MOST: usize = 4;

/// Connections are opened when first needed, and kept.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open::reader(&self.path), Ok)
    }

    fn give(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

impl Readers {
    pub(crate) fn of(path: PathBuf) -> Self {
        let pool = Pool { path, idle: Mutex::default() };
        Self { pool: Arc::new(pool), turns: Arc::new(Semaphore::new(MOST)) }
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        let ended = |_| Error::new(ErrorKind::Unexpected, op, "the runtime ended");
        let turn = self.turns.clone().acquire_owned().await.map_err(|e| ended(e.to_string()))?;
        let pool = self.pool.clone();
        let read = move || {
            // Held to the end of the work, also when nobody waits for it any more.
            let _turn = turn;
            let connection = pool.take()?;
            let done = work(&connection);
            pool.give(connection);
            done
        };
        let done = tokio::task::spawn_blocking(read).await.map_err(|e| ended(e.to_string()))?;
        done.map_err(|stop| stop.into_error(op))
    }
}
