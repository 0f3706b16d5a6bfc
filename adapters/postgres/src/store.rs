//! The journal: one row an event, and one row a build that says where its journal ends.

use crate::{
    client::PgDb,
    error::{json, stored, told, translate, unreadable},
    news::Topic,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Event, Recorded, Result, Seq, Timestamp,
    port::{Entry, Store},
};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const APPEND: &str = "SELECT done, place FROM append($1, $2, $3, $4, $5)";
/// A row without an event says that the build is known.
const LOAD: &str = "SELECT e.seq, e.at, e.event FROM journal j
    LEFT JOIN event e ON e.build = j.build AND e.seq > $2
    WHERE j.build = $1 ORDER BY e.seq";
const PLACE: &str = "SELECT last FROM journal WHERE build = $1";
const UNFINISHED: &str = "SELECT build FROM journal WHERE NOT over";
const FORGET: &str = "SELECT forget_journal($1)";

/// Journals in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PgStore {
    db: PgDb,
}

impl PgStore {
    pub(crate) fn new(db: PgDb) -> Self {
        Self { db }
    }
}

#[async_trait]
impl Store for PgStore {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        const OP: &str = "Store::append";
        let mut times = Vec::with_capacity(entries.len());
        let mut events = Vec::with_capacity(entries.len());
        for entry in entries {
            times.push(stored(entry.at.0));
            events.push(json(OP, &entry.event)?);
        }
        let over = entries.last().is_some_and(|e| matches!(e.event, Event::Finished { .. }));
        let id = build.to_string();
        let params: Vec<crate::lines::Param> = vec![
            Box::new(id.clone()),
            Box::new(stored(after.0)),
            Box::new(over),
            Box::new(times),
            Box::new(events),
        ];
        let rows = self.db.write(OP, &id, APPEND, params).await?;
        let row = rows.first().ok_or_else(|| no_row(OP))?;
        let (done, place): (bool, i64) = (row.get(0), row.get(1));
        if !done {
            return Err(Error::new(ErrorKind::Conflict, OP, "the journal moved on")
                .with("build", build)
                .with("after", after)
                .with("end", place));
        }
        Ok(Seq(told(place)))
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        const OP: &str = "Store::load";
        let params: [crate::lines::Param; 2] =
            [Box::new(build.to_string()), Box::new(stored(after.0))];
        let rows = self.db.read(OP, LOAD, &params).await?;
        if rows.is_empty() {
            return Err(
                Error::new(ErrorKind::NotFound, OP, "there is no such build").with("build", build)
            );
        }
        let mut journal = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(seq) = row.get::<_, Option<i64>>(0).map(told) else { continue };
            let event = serde_json::from_str(row.get(2)).map_err(|e| {
                unreadable(OP, "an event of the journal cannot be read", e)
                    .with("build", build)
                    .with("seq", seq)
            })?;
            journal.push(Recorded { seq: Seq(seq), at: Timestamp(told(row.get(1))), event });
        }
        Ok(journal)
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        const OP: &str = "Store::wait";
        // Before the look, so that nothing that comes after it is missed.
        let mut news = self.db.news(Topic::Journal(build.clone()));
        let give_up = Instant::now().checked_add(patience);
        loop {
            let params: [crate::lines::Param; 1] = [Box::new(build.to_string())];
            let rows = self.db.read(OP, PLACE, &params).await?;
            if rows.first().is_some_and(|row| told(row.get(0)) > after.0) {
                return Ok(true);
            }
            match give_up {
                None => news.changed().await,
                Some(at) if timeout_at(at, news.changed()).await.is_err() => return Ok(false),
                Some(_) => {}
            }
            if news.told() > after.0 {
                return Ok(true);
            }
        }
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        const OP: &str = "Store::unfinished";
        let rows = self.db.read(OP, UNFINISHED, &[]).await?;
        let read = |row: tokio_postgres::Row| {
            BuildId::new(row.try_get::<_, &str>(0).map_err(|e| translate(OP, &e))?)
                .map_err(|e| unreadable(OP, "the id of a build cannot be read", e))
        };
        rows.into_iter().map(read).collect()
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let id = build.to_string();
        self.db.write("Store::forget", &id, FORGET, vec![Box::new(id.clone())]).await.map(drop)
    }
}

/// The error for a function that gave no row: none of ours does.
pub(crate) fn no_row(op: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, op, "PostgreSQL gave no answer")
}
