//! Who waits for a change, and how it is noticed. The keys are the truth; a message of the server
//! says "look again" and no more. One connection listens for the whole handle. While it is down,
//! who waits looks twice a second, and again when it is back: messages may have been missed.

use crate::{
    durability::Durability,
    error::{translate, unreachable},
    wire::{Dialler, Line},
};
use futures::future::{Either, select};
use kiln::{BuildId, Result};
use redis::{FromRedisValue, PushInfo, PushKind, RedisError};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    pin::pin,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

const OP: &str = "Redis::connect";
/// How often who waits looks while nobody brings news.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long to wait before another attempt to listen.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the server is asked whether it is there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Over how many bells the builds are spread: who waits for one build wakes for few others.
const BELLS: usize = 128;

/// Wakes who waits for a change. Waking may be in vain.
#[derive(Debug)]
pub(crate) struct News {
    builds: [watch::Sender<u64>; BELLS],
    queue: watch::Sender<u64>,
    listener: OnceLock<AbortHandle>,
}

/// What a bell is about.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Topic {
    /// The journal of a build.
    Journal,
    /// The log of a build.
    Log,
}

impl Topic {
    /// The first letter of its messages; the build follows.
    fn letter(self) -> char {
        match self {
            Self::Journal => 'j',
            Self::Log => 'l',
        }
    }

    /// What a script tells the others.
    pub(crate) fn message(self, build: &BuildId) -> String {
        format!("{}{build}", self.letter())
    }
}

impl News {
    /// Begins to listen; an error is the server's.
    pub(crate) async fn of(
        dialler: Dialler,
        channel: String,
        kept: Arc<Mutex<Durability>>,
    ) -> Result<Arc<Self>> {
        let news = Arc::new(Self {
            builds: std::array::from_fn(|_| watch::Sender::new(0)),
            queue: watch::Sender::new(0),
            listener: OnceLock::new(),
        });
        let first = listen(&dialler, &channel).await;
        let first = first.map_err(|e| translate(OP, &e))?;
        let task = tokio::spawn(hear_on(dialler, channel, kept, Arc::downgrade(&news), first));
        // It is empty: nobody else sets it.
        let _ = news.listener.set(task.abort_handle());
        Ok(news)
    }

    /// Whoever asks before looking misses no change after the look.
    pub(crate) fn of_build(&self, topic: Topic, build: &BuildId) -> watch::Receiver<u64> {
        self.bell(&topic.message(build)).subscribe()
    }

    /// As [`News::of_build`], for the queue.
    pub(crate) fn of_queue(&self) -> watch::Receiver<u64> {
        self.queue.subscribe()
    }

    fn bell(&self, message: &str) -> &watch::Sender<u64> {
        let mut hash = DefaultHasher::new();
        message.hash(&mut hash);
        &self.builds[hash.finish() as usize % BELLS]
    }

    fn tell(&self, message: &str) {
        ring(if message == "q" { &self.queue } else { self.bell(message) });
    }

    fn tell_all(&self) {
        self.builds.iter().chain([&self.queue]).for_each(ring);
    }
}

fn ring(bell: &watch::Sender<u64>) {
    bell.send_modify(|rung| *rung = rung.wrapping_add(1));
}

impl Drop for News {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

type Listening = (Line, mpsc::UnboundedReceiver<PushInfo>);

async fn listen(dialler: &Dialler, channel: &str) -> Result<Listening, RedisError> {
    let (push, pushed) = mpsc::unbounded_channel();
    let mut line = dialler.dial(Some(push)).await?;
    line.connection.subscribe(channel).await?;
    Ok((line, pushed))
}

/// The listener's task: ends with the last clone of the handle.
async fn hear_on(
    dialler: Dialler,
    channel: String,
    kept: Arc<Mutex<Durability>>,
    news: Weak<News>,
    first: Listening,
) {
    let mut listening = Some(first);
    loop {
        if let Some((line, pushed)) = listening.take() {
            let Some(here) = news.upgrade() else { return };
            here.tell_all();
            drop(here);
            let Err(e) = hear(line, pushed, &news).await else { return };
            tracing::warn!(error = %e, "Redis brings no news, so that it is looked at twice a second");
        }
        let attempt = pin!(async {
            sleep(PAUSE).await;
            let mut listening = listen(&dialler, &channel).await?;
            look_again(&mut listening.0, &kept).await;
            Ok::<_, RedisError>(listening)
        });
        match select(attempt, pin!(tell_now_and_then(&news))).await {
            Either::Left((heard, _)) => listening = heard.ok(),
            Either::Right(((), _)) => return,
        }
    }
}

/// The server may be another one now, or have other settings.
async fn look_again(line: &mut Line, kept: &Mutex<Durability>) {
    // Whoever cannot be asked is told by the next call what is wrong.
    let Ok(now) = Durability::of(line, OP).await else { return };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if now.is_less_than(&kept) {
        let warnings = now.warnings.join(" ");
        tracing::warn!(level = ?now.level, evicts = now.evicts, "Redis keeps less now. {warnings}");
    }
    *kept = now;
}

/// Who looks for himself learns what is wrong. Returns when nobody is left.
async fn tell_now_and_then(news: &Weak<News>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(here) = news.upgrade() else { return };
        here.tell_all();
    }
}

/// Passes on what the server says until it says no more; `Ok` when nobody is left.
async fn hear(
    mut line: Line,
    mut pushed: mpsc::UnboundedReceiver<PushInfo>,
    news: &Weak<News>,
) -> Result<(), RedisError> {
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            push = pushed.recv() => {
                let Some(here) = news.upgrade() else { return Ok(()) };
                match push {
                    Some(push) if push.kind == PushKind::Message => {
                        let message = push.data.into_iter().nth(1).map(String::from_redis_value);
                        match message {
                            Some(Ok(message)) => here.tell(&message),
                            // Nobody of ours sends that.
                            _ => here.tell_all(),
                        }
                    }
                    Some(push) if push.kind != PushKind::Disconnection => {}
                    _ => return Err(unreachable(io::ErrorKind::ConnectionReset.into())),
                }
            }
            _ = pings.tick() => {
                let ping = redis::cmd("PING");
                let answer = timeout(PING_EVERY, ping.query_async::<()>(&mut line.connection));
                answer.await.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))??;
            }
        }
    }
}
