//! The one connection that writes, on a thread of its own. While it waits for the disk, writes
//! gather; the next transaction takes them all, each in a savepoint, and one wait serves them all.

use crate::{
    error::{Stop, translate},
    news::{News, Topic},
};
use futures::channel::oneshot;
use kiln::{Error, ErrorKind, Result};
use rusqlite::{Connection, ffi};
use std::sync::{Arc, mpsc};

/// How many writes share a transaction at most: a bound for how long the first waits.
const MOST: usize = 256;

/// The way to the writing thread, which ends with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Writer(mpsc::Sender<Box<dyn Write>>);

/// A write on its way.
trait Write: Send {
    /// Whether somebody still waits for it.
    fn wanted(&self) -> bool;
    /// Does it; what it wrote is to be undone if it failed. The error is the database's, if so.
    fn run(&mut self, connection: &Connection) -> Result<(), Option<ffi::Error>>;
    /// Answers: what it came to if the transaction is durable, else why it is not.
    fn answer(self: Box<Self>, lost: Option<&rusqlite::Error>, news: &News);
}

struct Task<T, F> {
    op: &'static str,
    topic: Topic,
    work: Option<F>,
    came_to: Option<Result<T, Stop>>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Write for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Stop> + Send,
{
    fn wanted(&self) -> bool {
        !self.answer.is_canceled()
    }

    fn run(&mut self, connection: &Connection) -> Result<(), Option<ffi::Error>> {
        let Some(work) = self.work.take() else { return Err(None) };
        let came_to = work(connection);
        let told = match &came_to {
            Ok(_) => Ok(()),
            Err(Stop::Refused(_)) => Err(None),
            Err(Stop::Db(e)) => Err(e.sqlite_error().copied()),
        };
        self.came_to = Some(came_to);
        told
    }

    fn answer(self: Box<Self>, lost: Option<&rusqlite::Error>, news: &News) {
        let answer = match (self.came_to, lost) {
            (Some(Ok(value)), None) => {
                news.tell(&self.topic);
                Ok(value)
            }
            (Some(Err(Stop::Db(e))), _) => Err(translate(self.op, &e)),
            (Some(Err(stop)), None) => Err(stop.into_error(self.op)),
            // A refusal too: it may rest on what another wrote that is lost now.
            (_, Some(e)) => Err(translate(self.op, e)),
            (None, None) => Err(ended(self.op)),
        };
        // Whoever asked may be gone; the work is done all the same.
        let _ = self.answer.send(answer);
    }
}

fn ended(op: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, op, "the database thread ended")
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(connection: Connection, news: Arc<News>) -> Result<Self> {
        let (writes, todo) = mpsc::channel::<Box<dyn Write>>();
        std::thread::Builder::new()
            .name("kiln-sqlite".into())
            .spawn(move || {
                while let Ok(first) = todo.recv() {
                    let more = std::iter::once(first).chain(todo.try_iter()).take(MOST);
                    let mut batch: Vec<_> = more.filter(|w| w.wanted()).collect();
                    let lost = commit(&connection, &mut batch).err();
                    batch.into_iter().for_each(|w| w.answer(lost.as_ref(), &news));
                }
            })
            .map_err(|e| {
                Error::new(ErrorKind::Exhausted, "Sqlite::open", "no thread can start").source(e)
            })?;
        Ok(Self(writes))
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        op: &'static str,
        topic: Topic,
        work: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let task = Task { op, topic, work: Some(work), came_to: None, answer };
        self.0.send(Box::new(task)).map_err(|_| ended(op))?;
        answered.await.map_err(|_| ended(op))?
    }
}

fn say(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Runs all writes in one transaction. An error says that nothing of any of them is stored.
fn commit(connection: &Connection, batch: &mut [Box<dyn Write>]) -> rusqlite::Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    say(connection, "BEGIN IMMEDIATE")?;
    let done = each(connection, batch).and_then(|()| say(connection, "COMMIT"));
    if done.is_err() && !connection.is_autocommit() {
        // Where this fails too, the next BEGIN says so.
        let _ = say(connection, "ROLLBACK");
    }
    done
}

fn each(connection: &Connection, batch: &mut [Box<dyn Write>]) -> rusqlite::Result<()> {
    for write in batch {
        say(connection, "SAVEPOINT one")?;
        let failed = write.run(connection).err();
        // A full or broken disk ends the whole transaction, and with it what others wrote.
        if connection.is_autocommit() {
            let why = failed.flatten().unwrap_or(ffi::Error::new(ffi::SQLITE_ABORT));
            return Err(rusqlite::Error::SqliteFailure(why, None));
        }
        if failed.is_some() {
            say(connection, "ROLLBACK TO one")?;
        }
        say(connection, "RELEASE one")?;
    }
    Ok(())
}
