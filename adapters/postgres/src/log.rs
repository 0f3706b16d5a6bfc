//! Logs: one row a log, which says where it ends, and its records in segments.

mod segment;

use crate::{
    client::PgDb,
    error::{stored, told, unreadable},
    lines::Param,
    news::Topic,
    store::no_row,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{LogBody, LogPage, LogReader, LogRecord, LogSink, Offset, RECORD_BYTES_MAX},
};
use segment::Segment;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const APPEND: &str = "SELECT done, place, shut FROM append_log($1, $2, $3, $4, $5, $6)";
const END: &str = "SELECT last FROM log WHERE build = $1";
const CLOSE: &str = "SELECT close_log($1)";
const FORGET: &str = "SELECT forget_log($1)";
/// The segments from the one that holds an offset on, about as many bytes as are asked for; with
/// none there is a row that says where the log ends.
const READ: &str = "SELECT l.last, l.closed, s.at, s.size, s.records
    FROM log l LEFT JOIN LATERAL (
        SELECT w.at, w.size, w.records FROM (
            SELECT f.at, f.size, f.records, sum(f.size) OVER (ORDER BY f.at) - f.size AS before
            FROM (
                SELECT g.at, g.size, g.records FROM segment g
                WHERE g.build = l.build AND g.at >= (
                    SELECT max(h.at) FROM segment h WHERE h.build = l.build AND h.at <= $2
                ) ORDER BY g.at LIMIT 1024
            ) f
        ) w WHERE w.before < $3
    ) s ON l.last > $2
    WHERE l.build = $1 ORDER BY s.at";
/// How much of a log is read at once at most, whatever is asked for.
const PAGE_MAX: usize = 4 << 20;
/// From how many bytes on packing and unpacking has a thread of its own.
const MUCH: usize = 64 << 10;

/// Logs in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PgLogs {
    db: PgDb,
}

impl PgLogs {
    pub(crate) fn new(db: PgDb) -> Self {
        Self { db }
    }

    /// What there is now from an offset on.
    async fn page(&self, build: &BuildId, from: Offset, bytes_max: usize) -> Result<LogPage> {
        const OP: &str = "LogReader::read";
        let most = bytes_max.clamp(1, PAGE_MAX);
        let params: [Param; 3] =
            [Box::new(build.to_string()), Box::new(stored(from.0)), Box::new(stored(most as u64))];
        let rows = self.db.read(OP, READ, &params).await?;
        let log = rows.first().map(|row| (told(row.get(0)), row.get(1)));
        let (last, shut) = log.unwrap_or((0, false));
        if from.0 > last {
            let message = "the log does not reach that far";
            return Err(Error::new(ErrorKind::Invalid, OP, message)
                .with("build", build)
                .with("from", from.0)
                .with("end", last));
        }
        let mut segments = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(at) = row.get::<_, Option<i64>>(2) else { continue };
            let (size, packed) = (row.get::<_, i32>(3), row.get::<_, Vec<u8>>(4));
            let size = usize::try_from(size).unwrap_or_default();
            segments.push(Segment { at: Offset(told(at)), size, packed });
        }
        let size = segments.iter().map(|s| s.size).sum();
        let wrong = |why: &str| {
            unreadable(OP, "a part of the log cannot be read", why).with("build", build)
        };
        let work = move || unpack(segments, from, most);
        let records = in_peace(OP, size, work).await?.map_err(|e| wrong(&e))?;
        let next = records.last().map_or(from, LogRecord::end);
        if records.is_empty() && last > from.0 {
            return Err(wrong("it is not there"));
        }
        Ok(LogPage { closed: shut && next.0 >= last, records, next })
    }
}

/// The records from an offset on, up to about so many bytes.
fn unpack(segments: Vec<Segment>, from: Offset, most: usize) -> Result<Vec<LogRecord>, String> {
    let mut page: Vec<LogRecord> = Vec::new();
    let mut next = None;
    for segment in segments {
        if next.is_some_and(|next| next != segment.at) {
            return Err("a segment is missing".to_owned());
        }
        for record in segment.records()? {
            next = Some(record.end());
            if record.end() <= from {
                continue;
            }
            let read = record.end().0 - from.0;
            if !page.is_empty() && read > most as u64 {
                return Ok(page);
            }
            page.push(record.tail(from));
        }
    }
    Ok(page)
}

/// Runs what takes its time where it keeps nobody waiting.
async fn in_peace<T: Send + 'static>(
    op: &'static str,
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    if size < MUCH {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(ErrorKind::Unexpected, op, "a thread ended").source(e))
}

/// Refuses records that do not follow each other, or hold too much or nothing.
fn check(op: &'static str, at: Offset, records: &[LogRecord]) -> Result<()> {
    let refuse = |why| Error::new(ErrorKind::Invalid, op, why);
    let mut end = at;
    for record in records {
        if let LogBody::Bytes { data, .. } = &record.body
            && (data.is_empty() || data.len() > RECORD_BYTES_MAX)
        {
            return Err(refuse("a record has no bytes, or too many").with("bytes", data.len()));
        }
        if record.at != end {
            return Err(refuse("a record does not follow the one before")
                .with("at", record.at.0)
                .with("expected", end.0));
        }
        match record.at.0.checked_add(record.width()) {
            Some(next) if i64::try_from(next).is_ok() => end = Offset(next),
            _ => return Err(refuse("a record ends beyond all offsets").with("at", record.at.0)),
        }
    }
    Ok(())
}

#[async_trait]
impl LogSink for PgLogs {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        const OP: &str = "LogSink::append";
        check(OP, at, records)?;
        let (size, batch) = (segment::size(records), records.to_vec());
        let segments = in_peace(OP, size, move || segment::pack(&batch)).await?.map_err(|why| {
            Error::new(ErrorKind::Invalid, OP, why).with("bytes_max", RECORD_BYTES_MAX)
        })?;
        let end = records.last().map_or(at, LogRecord::end);
        let (mut places, mut sizes, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
        for segment in segments {
            places.push(stored(segment.at.0));
            sizes.push(i32::try_from(segment.size).unwrap_or(i32::MAX));
            chunks.push(segment.packed);
        }
        let id = build.to_string();
        let params: Vec<Param> = vec![
            Box::new(id.clone()),
            Box::new(stored(at.0)),
            Box::new(places),
            Box::new(sizes),
            Box::new(chunks),
            Box::new(stored(end.0)),
        ];
        let rows = self.db.write(OP, &id, APPEND, params).await?;
        let row = rows.first().ok_or_else(|| no_row(OP))?;
        let (done, place, shut): (bool, i64, bool) = (row.get(0), row.get(1), row.get(2));
        if !done {
            let why = if shut { "the log is closed" } else { "the log does not end there" };
            return Err(Error::new(ErrorKind::Conflict, OP, why)
                .with("build", build)
                .with("at", at.0)
                .with("end", place));
        }
        Ok(end)
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        let params: [Param; 1] = [Box::new(build.to_string())];
        let rows = self.db.read("LogSink::end", END, &params).await?;
        Ok(Offset(rows.first().map_or(0, |row| told(row.get(0)))))
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        let id = build.to_string();
        self.db.write("LogSink::close", &id, CLOSE, vec![Box::new(id.clone())]).await.map(drop)
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let id = build.to_string();
        self.db.write("LogSink::forget", &id, FORGET, vec![Box::new(id.clone())]).await.map(drop)
    }
}

#[async_trait]
impl LogReader for PgLogs {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        // Before the look, so that nothing that comes after it is missed.
        let mut news = self.db.news(Topic::Log(build.clone()));
        let give_up = Instant::now().checked_add(patience);
        loop {
            let page = self.page(build, from, bytes_max).await?;
            if !page.records.is_empty() || page.closed {
                return Ok(page);
            }
            match give_up {
                None => news.changed().await,
                Some(at) if timeout_at(at, news.changed()).await.is_err() => return Ok(page),
                Some(_) => {}
            }
        }
    }
}
