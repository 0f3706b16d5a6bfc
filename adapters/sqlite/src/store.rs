//! The journal: one row an event, its primary key the place in the journal.

use crate::{
    client::SqliteDb,
    error::{json, unreadable},
    news::Topic,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Event, Recorded, Result, Seq, Timestamp,
    port::{Entry, Store},
};
use rusqlite::{Connection, params};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Journals in a SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    db: SqliteDb,
}

impl SqliteStore {
    pub(crate) fn new(db: SqliteDb) -> Self {
        Self { db }
    }
}

fn end(connection: &Connection, build: &BuildId) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM event WHERE build = ?1")?
        .query_row([build.as_str()], |row| row.get(0))
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        const OP: &str = "Store::append";
        let build = build.clone();
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push((entry.at.0, json(OP, &entry.event)?));
        }
        let finished = entries.last().map(|e| matches!(e.event, Event::Finished { .. }));
        let topic = if rows.is_empty() { Topic::Quiet } else { Topic::Journal(build.clone()) };
        self.db
            .write(OP, topic, move |c| {
                let now = end(c, &build)?;
                if now != after.0 {
                    return Err(Error::new(ErrorKind::Conflict, OP, "the journal moved on")
                        .with("build", &build)
                        .with("after", after)
                        .with("end", now)
                        .into());
                }
                let mut insert = c.prepare_cached(
                    "INSERT INTO event (build, seq, at, event) VALUES (?1, ?2, ?3, ?4)",
                )?;
                for (i, (at, text)) in rows.iter().enumerate() {
                    insert.execute(params![build.as_str(), after.plus(i + 1).0, at, text])?;
                }
                let sql = match finished {
                    Some(true) => "DELETE FROM unfinished WHERE build = ?1",
                    Some(false) => "INSERT OR IGNORE INTO unfinished (build) VALUES (?1)",
                    None => return Ok(after),
                };
                c.prepare_cached(sql)?.execute([build.as_str()])?;
                Ok(after.plus(rows.len()))
            })
            .await
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        const OP: &str = "Store::load";
        let id = build.clone();
        let rows: Vec<(u64, u64, String)> = self
            .db
            .read(OP, move |c| {
                let mut select = c.prepare_cached(
                    "SELECT seq, at, event FROM event WHERE build = ?1 AND seq > ?2 ORDER BY seq",
                )?;
                let after = i64::try_from(after.0).unwrap_or(i64::MAX);
                let rows: Vec<_> = select
                    .query_map(params![id.as_str(), after], |r| {
                        Ok((r.get(0)?, r.get(1)?, r.get(2)?))
                    })?
                    .collect::<Result<_, _>>()?;
                if rows.is_empty() && end(c, &id)? == 0 {
                    return Err(Error::new(ErrorKind::NotFound, OP, "there is no such build")
                        .with("build", &id)
                        .into());
                }
                Ok(rows)
            })
            .await?;
        let read = |(seq, at, text): (u64, u64, String)| {
            let event = serde_json::from_str(&text).map_err(|e| {
                unreadable(OP, "an event of the journal cannot be read", e)
                    .with("build", build)
                    .with("seq", seq)
            })?;
            Ok(Recorded { seq: Seq(seq), at: Timestamp(at), event })
        };
        rows.into_iter().map(read).collect()
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        const OP: &str = "Store::wait";
        // Before the look, so that nothing that comes after it is missed.
        let mut news = self.db.news.of_journal(build);
        let give_up = Instant::now().checked_add(patience);
        loop {
            let id = build.clone();
            if self.db.read(OP, move |c| Ok(end(c, &id)?)).await? > after.0 {
                return Ok(true);
            }
            match give_up {
                // The bell outlives this, since `self` holds it.
                None => drop(news.changed().await),
                Some(at) if timeout_at(at, news.changed()).await.is_err() => return Ok(false),
                Some(_) => {}
            }
        }
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        const OP: &str = "Store::unfinished";
        let names: Vec<String> = self
            .db
            .read(OP, |c| {
                let mut select = c.prepare_cached("SELECT build FROM unfinished")?;
                Ok(select.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?)
            })
            .await?;
        let read = |name: String| {
            BuildId::new(name).map_err(|e| unreadable(OP, "the id of a build cannot be read", e))
        };
        names.into_iter().map(read).collect()
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "Store::forget";
        let id = build.clone();
        self.db
            .write(OP, Topic::Journal(id.clone()), move |c| {
                for sql in [
                    "DELETE FROM event WHERE build = ?1",
                    "DELETE FROM unfinished WHERE build = ?1",
                ] {
                    c.prepare_cached(sql)?.execute([id.as_str()])?;
                }
                Ok(())
            })
            .await
    }
}
