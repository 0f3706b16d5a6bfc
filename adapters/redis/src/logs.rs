//! Logs: one stream a build, whose ids are offsets, and one hash that says where it ends.

use crate::{
    client::RedisDb,
    error::unreadable,
    news::Topic,
    piece::{check, cost, pieces, records},
    script,
};
use async_trait::async_trait;
use bytes::Bytes;
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{LogBody, LogPage, LogReader, LogRecord, LogSink, Offset},
};
use redis::{FromRedisValue, Value};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const READ: &str = "LogReader::read";
/// How many bytes a page has at most, whatever was asked for: other answers wait behind it.
const PAGE_MAX: usize = 1 << 20;

/// Logs in Redis, for builds that run and for those who follow them. They stay in the server's
/// memory until they are forgotten: keep those that are closed elsewhere.
#[derive(Clone, Debug)]
pub struct RedisLogs {
    db: RedisDb,
}

impl RedisLogs {
    pub(crate) fn new(db: RedisDb) -> Self {
        Self { db }
    }

    /// Runs a script that has a build and tells of its log.
    async fn tell(
        &self,
        op: &'static str,
        script: &'static redis::Script,
        build: &BuildId,
    ) -> Result<()> {
        let mut call = self.db.call(script);
        call.arg(self.db.channel()).arg(Topic::Log.message(build)).arg(build.as_str());
        self.db.link().run(op, &call).await
    }

    /// The page as it is now.
    async fn look(self, build: BuildId, from: Offset, bytes_max: usize) -> Result<LogPage> {
        let mut call = self.db.call(&script::READ);
        call.arg(build.as_str()).arg(from.0).arg(bytes_max);
        let told: Vec<Value> = self.db.link().run(READ, &call).await?;
        page(told, from, bytes_max).map_err(|e| e.with("build", build))
    }
}

fn damaged(why: &'static str) -> Error {
    unreadable(READ, "a log cannot be read", why)
}

fn number(value: Option<Value>) -> Result<u64> {
    let number = value.map(u64::from_redis_value).and_then(|number| number.ok());
    number.ok_or_else(|| damaged("a number is none"))
}

/// A page of what `read.lua` told.
fn page(told: Vec<Value>, from: Offset, bytes_max: usize) -> Result<LogPage> {
    let mut told = told.into_iter();
    let end = Offset(number(told.next())?);
    let closed = number(told.next())? == 1;
    if from > end {
        return Err(Error::new(
            ErrorKind::Invalid,
            READ,
            "the offset is beyond the end of the log",
        )
        .with("offset", from.0)
        .with("end", end.0));
    }
    let (mut page, mut bytes, mut next) = (Vec::new(), 0, from);
    while let Some(offset) = told.next() {
        let at = Offset(number(Some(offset))?);
        let Some(Value::BulkString(piece)) = told.next() else {
            return Err(damaged("a piece is none"));
        };
        let read = records(at, Bytes::from(piece)).map_err(damaged)?;
        for record in read.into_iter().filter(|r| r.end() > from) {
            if !page.is_empty() && bytes >= bytes_max {
                break;
            }
            let record = record.tail(from);
            if record.at != next {
                return Err(damaged("a record is not where it should be"));
            }
            bytes += cost(&record);
            next = record.end();
            page.push(record);
        }
        // What comes after a page that is full follows nothing of it.
        if bytes >= bytes_max && !page.is_empty() {
            break;
        }
    }
    if next > end || (page.is_empty() && from < end) {
        return Err(damaged("a piece is missing"));
    }
    Ok(LogPage { records: page, next, closed: closed && next == end })
}

#[async_trait]
impl LogSink for RedisLogs {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        const OP: &str = "LogSink::append";
        let end = check(OP, at, records)?;
        let bytes = |record: &LogRecord| match &record.body {
            LogBody::Bytes { data, .. } => data.len(),
            _ => 0,
        };
        let mut call = self.db.call(&script::WRITE);
        call.arg(self.db.channel())
            .arg(Topic::Log.message(build))
            .arg(build.as_str())
            .arg(at.0)
            .arg(end.0)
            .arg(records.iter().map(bytes).sum::<usize>())
            .arg(self.db.config().log_bytes_max);
        for (offset, piece) in pieces(OP, records)? {
            call.arg(offset.0).arg(piece);
        }
        let (word, end): (String, u64) = self.db.link().run(OP, &call).await?;
        let (kind, why) = match word.as_str() {
            "kept" => return Ok(Offset(end)),
            "full" => (ErrorKind::Exhausted, "the log has as many bytes as a log may have"),
            "closed" => (ErrorKind::Conflict, "the log is closed"),
            _ => (ErrorKind::Conflict, "the log does not end there"),
        };
        Err(Error::new(kind, OP, why).with("build", build).with("end", end))
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        let mut get = redis::cmd("HGET");
        get.arg(self.db.key(&format!("log:{build}:state"))).arg("end");
        let end: Option<u64> = self.db.link().ask("LogSink::end", &get).await?;
        Ok(Offset(end.unwrap_or(0)))
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        self.tell("LogSink::close", &script::CLOSE, build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.tell("LogSink::forget", &script::FORGET, build).await
    }
}

#[async_trait]
impl LogReader for RedisLogs {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        let bytes_max = bytes_max.min(PAGE_MAX);
        // Before the look, so that nothing that comes after it is missed.
        let mut news = self.db.news().of_build(Topic::Log, build);
        let give_up = Instant::now().checked_add(patience);
        loop {
            let look = self.clone().look(build.clone(), from, bytes_max);
            let place = (build.clone(), from.0, bytes_max);
            let page = self.db.flights().join(place, look).await?;
            if !page.records.is_empty() || page.closed {
                return Ok(page);
            }
            match give_up {
                // The bell outlives this, since `self` holds it.
                None => drop(news.changed().await),
                Some(at) if timeout_at(at, news.changed()).await.is_err() => return Ok(page),
                Some(_) => {}
            }
        }
    }
}
