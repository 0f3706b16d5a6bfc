//! Who waits for a change, and how it is noticed: at once within the process, and by looking at the
//! file's change counter for what other processes do.

use crate::{error::translate, open};
use kiln::{BuildId, Error, ErrorKind, Result};
use rusqlite::Connection;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};
use tokio::sync::watch;

/// How often the file is looked at for what other processes wrote, while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Over how many bells the builds are spread: who waits for one build wakes for few others.
const BELLS: usize = 64;

/// What a write changes that somebody may wait for.
#[derive(Clone, Debug)]
pub(crate) enum Topic {
    /// Nothing.
    Quiet,
    /// The journal of a build.
    Journal(BuildId),
    /// The queue.
    Queue,
}

/// Wakes who waits for a change. Waking says "look again", and may be in vain.
#[derive(Debug)]
pub(crate) struct News {
    journals: [watch::Sender<()>; BELLS],
    queue: watch::Sender<()>,
    watcher: OnceLock<Thread>,
    /// Whether the watcher sleeps until somebody waits.
    idle: AtomicBool,
}

impl News {
    /// The news of a file that is open.
    pub(crate) fn of(path: &Path) -> Result<Arc<Self>> {
        const OP: &str = "Sqlite::open";
        let connection = open::reader(path).map_err(|e| translate(OP, &e))?;
        let news = Arc::new(Self {
            journals: std::array::from_fn(|_| watch::Sender::new(())),
            queue: watch::Sender::new(()),
            watcher: OnceLock::new(),
            idle: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&news);
        let watcher = thread::Builder::new()
            .name("kiln-sqlite-news".into())
            .spawn(move || look_on(&connection, &weak))
            .map_err(|e| Error::new(ErrorKind::Exhausted, OP, "no thread can start").source(e))?;
        // It is empty: nobody else sets it.
        let _ = news.watcher.set(watcher.thread().clone());
        Ok(news)
    }

    /// Tells those who wait in this process.
    pub(crate) fn tell(&self, topic: &Topic) {
        match topic {
            Topic::Quiet => {}
            Topic::Journal(build) => self.bell(build).send_modify(|()| ()),
            Topic::Queue => self.queue.send_modify(|()| ()),
        }
    }

    /// Whoever asks before looking at a journal misses no change after the look.
    pub(crate) fn of_journal(&self, build: &BuildId) -> watch::Receiver<()> {
        self.awake(self.bell(build).subscribe())
    }

    /// As [`News::of_journal`], for the queue.
    pub(crate) fn of_queue(&self) -> watch::Receiver<()> {
        self.awake(self.queue.subscribe())
    }

    fn bell(&self, build: &BuildId) -> &watch::Sender<()> {
        let mut hash = DefaultHasher::new();
        build.hash(&mut hash);
        &self.journals[hash.finish() as usize % BELLS]
    }

    fn all(&self) -> impl Iterator<Item = &watch::Sender<()>> {
        self.journals.iter().chain([&self.queue])
    }

    fn awake(&self, receiver: watch::Receiver<()>) -> watch::Receiver<()> {
        if self.idle.swap(false, Ordering::SeqCst)
            && let Some(watcher) = self.watcher.get()
        {
            watcher.unpark();
        }
        receiver
    }

    fn wanted(&self) -> bool {
        self.all().any(|bell| bell.receiver_count() > 0)
    }

    /// Whether the watcher may sleep; whoever comes after this wakes it.
    fn rests(&self) -> bool {
        self.idle.store(true, Ordering::SeqCst);
        let rests = !self.wanted();
        if !rests {
            self.idle.store(false, Ordering::SeqCst);
        }
        rests
    }
}

impl Drop for News {
    fn drop(&mut self) {
        // The watcher finds that nobody is left.
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }
}

/// The watcher's thread: ends with the last clone of the database.
fn look_on(connection: &Connection, news: &Weak<News>) {
    let mut seen: Option<i64> = None;
    loop {
        let Some(here) = news.upgrade() else { return };
        if here.rests() {
            drop(here);
            thread::park();
            continue;
        }
        let now = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut s| s.query_row([], |r| r.get(0)))
            .ok();
        // Who cannot be told whether something changed looks for itself, and learns what is wrong.
        if now.is_none() || now != seen {
            here.all().for_each(|bell| bell.send_modify(|()| ()));
        }
        seen = now;
        drop(here);
        thread::park_timeout(LOOK_EVERY);
    }
}
