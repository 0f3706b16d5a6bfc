//! A Redis server: one connection for calls, one for news.

use crate::{
    config::RedisConfig, due::Due, durability::Durability, fleet::RedisFleet, flight::Flights,
    index::RedisIndex, link::Link, logs::RedisLogs, news::News, open, queue::RedisQueue,
    store::RedisStore, wire::Dialler,
};
use kiln::Result;
use redis::{Script, ScriptInvocation};
use std::sync::{Arc, Mutex, PoisonError};

const OP: &str = "Redis::connect";

/// A Redis server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct RedisDb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: RedisConfig,
    channel: String,
    durability: Arc<Mutex<Durability>>,
    link: Link,
    news: Arc<News>,
    flights: Arc<Flights>,
    due: Due,
}

impl RedisDb {
    /// Connects, checks who is there, asks what it keeps, and notes the version of the keys.
    ///
    /// `Unsupported` if it is no Redis 7 or Valkey, a cluster, or a newer version of Kiln keeps its
    /// keys there; `Denied` if it does not let us in; `Unavailable` or `Timeout` if it is not there.
    pub async fn connect(config: RedisConfig) -> Result<Self> {
        let named = |e: kiln::Error| e.with("server", config.shown());
        let dialler = Dialler::new(&config).map_err(named)?;
        let link = Link::new(dialler.clone());
        let mut line = link.open(OP).await.map_err(named)?;
        open::check(&mut line, &config).await.map_err(named)?;
        let durability = Durability::of(&mut line, OP).await.map_err(named)?;
        let durability = Arc::new(Mutex::new(durability));
        // Channels are of all databases alike.
        let channel = format!("{}news:{}", config.prefix, config.database);
        let news = News::of(dialler, channel.clone(), durability.clone()).await.map_err(named)?;
        let flights = Arc::default();
        Ok(Self(Arc::new(Inner {
            config,
            channel,
            durability,
            link,
            news,
            flights,
            due: Due::default(),
        })))
    }

    /// What the server keeps of what it acknowledges. It is asked whenever a connection is made; that
    /// it keeps less than before is told as a warning.
    pub fn durability(&self) -> Durability {
        self.0.durability.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The journals. `Unsupported` if the server keeps less than [`RedisConfig::require`] says; what
    /// it may lose all the same is told as warnings.
    pub fn store(&self) -> Result<RedisStore> {
        self.durability().suffices(self.0.config.require, "Redis::store")?;
        Ok(RedisStore::new(self.clone()))
    }

    /// The index. It can be made anew from the journals.
    pub fn index(&self) -> RedisIndex {
        RedisIndex::new(self.clone())
    }

    /// The queue. Its leases expire by the server's clock.
    pub fn queue(&self) -> RedisQueue {
        RedisQueue::new(self.clone())
    }

    /// The fleet.
    pub fn fleet(&self) -> RedisFleet {
        RedisFleet::new(self.clone())
    }

    /// The logs.
    pub fn logs(&self) -> RedisLogs {
        RedisLogs::new(self.clone())
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.0.config
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    pub(crate) fn news(&self) -> &News {
        &self.0.news
    }

    /// The name of a key.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.config.prefix)
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.0.flights
    }

    /// Until when leases may be given.
    pub(crate) fn due(&self) -> &Due {
        &self.0.due
    }

    pub(crate) fn channel(&self) -> &str {
        &self.0.channel
    }

    /// A script with its first argument, the prefix of all keys.
    pub(crate) fn call(&self, script: &'static Script) -> ScriptInvocation<'static> {
        script.arg(&self.0.config.prefix)
    }
}
