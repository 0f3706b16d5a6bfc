//! The journal: one row an event, its primary key the place in the journal.

use crate::{client::SqliteDb, error::translate};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Event, Recorded, Result, Seq, Timestamp,
    port::{Entry, Store},
};
use rusqlite::{Connection, params};
use std::time::Duration;

/// How often the file is looked at for what other processes wrote.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
            let text = serde_json::to_string(&entry.event)
                .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
            rows.push((entry.at.0, text));
        }
        let finished = entries.last().map(|e| matches!(e.event, Event::Finished { .. }));
        self.db
            .write(OP, move |t| {
                let wrong = |e| translate(OP, e);
                let now = end(t, &build).map_err(wrong)?;
                if now != after.0 {
                    return Err(Error::new(ErrorKind::Conflict, OP, "the journal moved on")
                        .with("build", &build)
                        .with("after", after)
                        .with("end", now));
                }
                let mut insert = t
                    .prepare_cached(
                        "INSERT INTO event (build, seq, at, event) VALUES (?1, ?2, ?3, ?4)",
                    )
                    .map_err(wrong)?;
                for (i, (at, text)) in rows.iter().enumerate() {
                    let seq = after.plus(i + 1).0;
                    insert.execute(params![build.as_str(), seq, at, text]).map_err(wrong)?;
                }
                let sql = match finished {
                    Some(true) => "DELETE FROM unfinished WHERE build = ?1",
                    Some(false) => "INSERT OR IGNORE INTO unfinished (build) VALUES (?1)",
                    None => return Ok(after),
                };
                t.prepare_cached(sql)
                    .and_then(|mut s| s.execute([build.as_str()]))
                    .map_err(wrong)?;
                Ok(after.plus(rows.len()))
            })
            .await
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        const OP: &str = "Store::load";
        let id = build.clone();
        let rows: Vec<(u64, u64, String)> = self
            .db
            .run(OP, move |c| {
                let wrong = |e| translate(OP, e);
                let mut select = c
                    .prepare_cached(
                        "SELECT seq, at, event FROM event WHERE build = ?1 AND seq > ?2 ORDER BY seq",
                    )
                    .map_err(wrong)?;
                let rows = select
                    .query_map(params![id.as_str(), after.0], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
                    .and_then(Iterator::collect)
                    .map_err(wrong)?;
                drop(select);
                if <Vec<_>>::is_empty(&rows) && end(c, &id).map_err(wrong)? == 0 {
                    return Err(Error::new(ErrorKind::NotFound, OP, "there is no such build")
                        .with("build", &id));
                }
                Ok(rows)
            })
            .await?;
        let read = |(seq, at, text): (u64, u64, String)| {
            let event = serde_json::from_str(&text).map_err(|e| {
                Error::new(ErrorKind::Corrupt, OP, "an event of the journal cannot be read")
                    .with("build", build)
                    .with("seq", seq)
                    .hint("A newer version of Kiln may have written it.")
                    .source(e.to_string())
            })?;
            Ok(Recorded { seq: Seq(seq), at: Timestamp(at), event })
        };
        rows.into_iter().map(read).collect()
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        const OP: &str = "Store::wait";
        let mut written = self.db.written.subscribe();
        let give_up = tokio::time::Instant::now() + patience;
        loop {
            let id = build.clone();
            let now = self.db.run(OP, move |c| end(c, &id).map_err(|e| translate(OP, e))).await?;
            if now > after.0 {
                return Ok(true);
            }
            let look = (tokio::time::Instant::now() + LOOK_EVERY).min(give_up);
            tokio::select! {
                _ = written.changed() => {}
                () = tokio::time::sleep_until(look) => {
                    if look == give_up {
                        return Ok(false);
                    }
                }
            }
        }
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        const OP: &str = "Store::unfinished";
        let names: Vec<String> = self
            .db
            .run(OP, |c| {
                let mut select = c
                    .prepare_cached("SELECT build FROM unfinished")
                    .map_err(|e| translate(OP, e))?;
                select
                    .query_map([], |r| r.get(0))
                    .and_then(Iterator::collect)
                    .map_err(|e| translate(OP, e))
            })
            .await?;
        let read = |name: String| {
            BuildId::new(name).map_err(|e| Error::new(ErrorKind::Corrupt, OP, e.to_string()))
        };
        names.into_iter().map(read).collect()
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "Store::forget";
        let id = build.clone();
        self.db
            .write(OP, move |t| {
                for sql in [
                    "DELETE FROM event WHERE build = ?1",
                    "DELETE FROM unfinished WHERE build = ?1",
                ] {
                    t.execute(sql, [id.as_str()]).map_err(|e| translate(OP, e))?;
                }
                Ok(())
            })
            .await
    }
}
