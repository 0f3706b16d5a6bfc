//! Who waits for a change, and how it is told: by `NOTIFY`, over one connection.

use crate::{config::PgConfig, tls};
use futures::{StreamExt, stream};
use kiln::{BuildId, Result};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time};
use tokio_postgres::AsyncMessage;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How often who waits looks for itself while nobody listens.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How soon a connection that broke is made anew, at first and at last.
const AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// How often the connection is tried, and how long that may take.
const TRY_EVERY: Duration = Duration::from_secs(10);

/// What somebody may wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// The journal of a build.
    Journal(BuildId),
    /// The log of a build.
    Log(BuildId),
    /// The queue.
    Queue,
}

/// Wakes who waits for a change. Waking says "look again", and may be in vain.
#[derive(Debug, Default)]
pub(crate) struct News {
    bells: Mutex<HashMap<Topic, watch::Sender<u64>>>,
    listening: AtomicBool,
}

/// Somebody who waits for one topic.
#[derive(Debug)]
pub(crate) struct Ear {
    news: Arc<News>,
    topic: Topic,
    bell: watch::Receiver<u64>,
}

impl News {
    fn bells(&self) -> MutexGuard<'_, HashMap<Topic, watch::Sender<u64>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever asks before looking misses no change after the look.
    pub(crate) fn of(self: &Arc<Self>, topic: Topic) -> Ear {
        let mut bells = self.bells();
        let bell = bells.entry(topic.clone()).or_default().subscribe();
        drop(bells);
        Ear { news: self.clone(), topic, bell }
    }

    fn tell(&self, topic: &Topic, place: u64) {
        if let Some(bell) = self.bells().get(topic) {
            bell.send_replace(place);
        }
    }

    /// What was missed nobody knows.
    fn tell_all(&self) {
        self.bells().values().for_each(|bell| {
            bell.send_replace(0);
        });
    }

    /// Reads what the function `tell` of the schema says.
    fn heard(&self, payload: &str) {
        let build = |text: &str| {
            let (id, place) = text.split_once(' ')?;
            Some((BuildId::new(id).ok()?, place.parse().ok()?))
        };
        let (kind, rest) = payload.split_at_checked(1).unwrap_or_default();
        match (kind, build(rest)) {
            ("q", _) => self.tell(&Topic::Queue, 0),
            ("j", Some((id, place))) => self.tell(&Topic::Journal(id), place),
            ("l", Some((id, place))) => self.tell(&Topic::Log(id), place),
            _ => tracing::warn!(target: "kiln::postgres", "PostgreSQL told of something unknown"),
        }
    }
}

impl Ear {
    /// The place that was told last; 0 if none was.
    pub(crate) fn told(&self) -> u64 {
        *self.bell.borrow()
    }

    /// Waits for news; or, while nobody listens, until it is time to look.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::select! {
                // The bell outlives this, which keeps it in the map.
                _ = self.bell.changed() => return,
                () = time::sleep(LOOK_EVERY) => {
                    if !self.news.listening.load(Ordering::SeqCst) {
                        return;
                    }
                }
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut bells = self.news.bells();
        if bells.get(&self.topic).is_some_and(|bell| bell.receiver_count() <= 1) {
            bells.remove(&self.topic);
        }
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Until(JoinHandle<()>);

impl Drop for Until {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens, whatever happens to the connection.
pub(crate) fn listen(config: &PgConfig, news: &Arc<News>) -> Result<Until> {
    let (config, connector, news) = (config.clone(), tls::connector(config)?, Arc::downgrade(news));
    Ok(Until(tokio::spawn(async move {
        let mut pause = AGAIN[0];
        loop {
            let heard = once(&config, &connector, &news).await;
            let Some(here) = news.upgrade() else { return };
            if here.listening.swap(false, Ordering::SeqCst) {
                pause = AGAIN[0];
                // Whoever looks now learns what is wrong, or what was missed.
                here.tell_all();
            }
            drop(here);
            if let Err(e) = heard {
                tracing::debug!(target: "kiln::postgres", "nobody listens to PostgreSQL: {e}");
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN[1]);
        }
    })))
}

/// Listens over one connection until it breaks.
async fn once(
    config: &PgConfig,
    connector: &MakeRustlsConnect,
    news: &Weak<News>,
) -> Result<(), tokio_postgres::Error> {
    let session = config.session();
    let Ok(connected) = time::timeout(TRY_EVERY, session.connect(connector.clone())).await else {
        return Ok(());
    };
    let (client, mut connection) = connected?;
    let (of, schema) = (news.clone(), &config.schema);
    let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
    let mut hearing = Until(tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            let Some(news) = of.upgrade() else { return };
            if let AsyncMessage::Notification(said) = message {
                news.heard(said.payload());
            }
        }
    }));
    let listen = format!("LISTEN kiln_{schema}");
    let Ok(listens) = time::timeout(TRY_EVERY, client.batch_execute(&listen)).await else {
        return Ok(());
    };
    listens?;
    if let Some(news) = news.upgrade() {
        news.listening.store(true, Ordering::SeqCst);
        // Who looked before we listened looks again.
        news.tell_all();
    }
    loop {
        tokio::select! {
            _ = &mut hearing.0 => return Ok(()),
            () = time::sleep(TRY_EVERY) => {}
        }
        match time::timeout(TRY_EVERY, client.simple_query("")).await {
            Ok(answer) => drop(answer?),
            Err(_) => return Ok(()),
        }
    }
}
