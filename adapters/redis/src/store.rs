//! The journal: one list a build, whose places are the places of the journal, and one set of the
//! builds that are not over.

use crate::{
    client::RedisDb,
    error::{json, unreadable},
    news::Topic,
    script,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Event, Recorded, Result, Seq, Timestamp,
    port::{Entry, Store},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Journals in Redis. What a crash of the server leaves of them, [`Durability`] tells.
///
/// [`Durability`]: crate::Durability
#[derive(Clone, Debug)]
pub struct RedisStore {
    db: RedisDb,
}

/// An event as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<E> {
    at: Timestamp,
    event: E,
}

impl RedisStore {
    pub(crate) fn new(db: RedisDb) -> Self {
        Self { db }
    }

    fn key(&self, build: &BuildId) -> String {
        self.db.key(&format!("journal:{build}"))
    }

    async fn end(&self, op: &'static str, build: &BuildId) -> Result<u64> {
        self.db.link().ask(op, redis::cmd("LLEN").arg(self.key(build))).await
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        const OP: &str = "Store::append";
        let over = entries.last().is_some_and(|e| matches!(e.event, Event::Finished { .. }));
        let mut call = self.db.call(&script::APPEND);
        call.arg(self.db.channel())
            .arg(Topic::Journal.message(build))
            .arg(build.as_str())
            .arg(after.0)
            .arg(u8::from(over));
        for Entry { at, event } in entries {
            call.arg(json(OP, &Stored { at: *at, event })?);
        }
        let (stored, end): (bool, u64) = self.db.link().run(OP, &call).await?;
        if stored {
            return Ok(Seq(end));
        }
        Err(Error::new(ErrorKind::Conflict, OP, "the journal moved on")
            .with("build", build)
            .with("after", after)
            .with("end", end))
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        const OP: &str = "Store::load";
        // A place beyond what a list can have is beyond its end.
        let from = i64::try_from(after.0).unwrap_or(i64::MAX);
        let mut range = redis::cmd("LRANGE");
        range.arg(self.key(build)).arg(from).arg(-1);
        let texts: Vec<String> = self.db.link().ask(OP, &range).await?;
        if texts.is_empty() && self.end(OP, build).await? == 0 {
            let error = Error::new(ErrorKind::NotFound, OP, "there is no such build");
            return Err(error.with("build", build));
        }
        let read = |(i, text): (usize, String)| {
            let seq = after.plus(i + 1);
            let Stored { at, event } = serde_json::from_str(&text).map_err(|e| {
                unreadable(OP, "an event of the journal cannot be read", e)
                    .with("build", build)
                    .with("seq", seq)
            })?;
            Ok(Recorded { seq, at, event })
        };
        texts.into_iter().enumerate().map(read).collect()
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        const OP: &str = "Store::wait";
        // Before the look, so that nothing that comes after it is missed.
        let mut news = self.db.news().of_build(Topic::Journal, build);
        let give_up = Instant::now().checked_add(patience);
        loop {
            if self.end(OP, build).await? > after.0 {
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
        let mut members = redis::cmd("SMEMBERS");
        members.arg(self.db.key("unfinished"));
        let names: Vec<String> = self.db.link().ask(OP, &members).await?;
        let read = |name: String| {
            BuildId::new(name).map_err(|e| unreadable(OP, "the id of a build cannot be read", e))
        };
        names.into_iter().map(read).collect()
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let mut call = self.db.call(&script::ERASE);
        call.arg(self.db.channel()).arg(Topic::Journal.message(build)).arg(build.as_str());
        self.db.link().run("Store::forget", &call).await
    }
}
