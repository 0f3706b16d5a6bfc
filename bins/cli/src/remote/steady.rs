//! Going on through a server that is away for a while.

use crate::print;
use futures::future::BoxFuture;
use kiln::{
    Error, Result, Status,
    layer::{Again, Around, Call},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep},
};

/// How long a server is waited for.
#[derive(Debug)]
struct Times {
    /// How long it may be away.
    away_max: Duration,
    /// The first and the longest wait before it is asked again.
    pause: (Duration, Duration),
}

impl Default for Times {
    fn default() -> Self {
        let pause = (Duration::from_millis(200), Duration::from_secs(3));
        Self { away_max: Duration::from_secs(600), pause }
    }
}

/// What is told beside the log of a build.
#[derive(Debug)]
pub(crate) enum Note {
    /// What was heard of the user's wish to stop.
    Stopping(String),
    /// Anything else.
    Said(String),
}

/// A layer that makes calls again that failed since the server was away, and tells the user of it.
///
/// A server that never answered is not waited for: its address is more likely wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steady(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    times: Times,
    answered: AtomicBool,
    lost: AtomicBool,
    /// Where notes go while a screen is shown.
    notes: Mutex<Option<UnboundedSender<Note>>>,
}

impl Steady {
    /// Sends notes there from now on, since what is printed beside a screen tears it.
    pub(crate) fn tell(&self, notes: UnboundedSender<Note>) {
        *self.0.notes.lock().unwrap_or_else(PoisonError::into_inner) = Some(notes);
    }

    /// Tells the user something, above the screen if there is one.
    pub(crate) fn note(&self, text: &str) {
        let notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = notes.as_ref().map(|notes| notes.send(Note::Said(text.to_owned())));
        if !matches!(sent, Some(Ok(()))) {
            print::note(text);
        }
    }

    /// Does something that may be done again, until the server has answered.
    pub(crate) async fn again<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let (mut since, mut pause) = (None, self.0.times.pause.0);
        loop {
            let error = match work().await {
                Ok(answer) => {
                    self.answered();
                    return Ok(answer);
                }
                Err(e) => e,
            };
            let since = *since.get_or_insert_with(Instant::now);
            if error.retry_status() != Status::Temporary || !self.may_wait(since) {
                return Err(error);
            }
            self.lost(&error);
            sleep(pause).await;
            pause = (pause * 3 / 2).min(self.0.times.pause.1);
        }
    }

    fn may_wait(&self, since: Instant) -> bool {
        self.0.answered.load(Ordering::Relaxed) && since.elapsed() < self.0.times.away_max
    }

    fn answered(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
        if self.0.lost.swap(false, Ordering::Relaxed) {
            self.note("note: the server answers again");
        }
    }

    fn lost(&self, error: &Error) {
        if !self.0.lost.swap(true, Ordering::Relaxed) {
            self.note(&format!("note: {}; trying again", error.message()));
        }
    }
}

impl Around for Steady {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        match call.again {
            Again::Safe => self.again(work).await,
            _ => work().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::ErrorKind;
    use std::sync::atomic::AtomicU32;
    use tokio::sync::mpsc::unbounded_channel;

    /// Fails so many times; returns the result and how often it was tried.
    async fn tries(steady: &Steady, kind: ErrorKind, failures: u32) -> (Result<u32>, u32) {
        let tried = AtomicU32::new(0);
        let work = || async {
            match tried.fetch_add(1, Ordering::Relaxed) {
                n if n < failures => Err(Error::new(kind, "x", "it is away")),
                n => Ok(n),
            }
        };
        let result = steady.again(work).await;
        (result, tried.into_inner())
    }

    #[tokio::test]
    async fn a_server_that_answered_once_is_waited_for() {
        let pause = (Duration::from_millis(1), Duration::from_millis(2));
        let times = Times { away_max: Duration::from_millis(200), pause };
        let steady = Steady(Arc::new(Shared { times, ..Shared::default() }));
        let (notes, mut noted) = unbounded_channel();
        steady.tell(notes);
        assert_eq!(tries(&steady, ErrorKind::Unavailable, 3).await.1, 1, "it never answered");
        assert_eq!(tries(&steady, ErrorKind::Unavailable, 0).await.0.unwrap(), 0);
        assert_eq!(tries(&steady, ErrorKind::Unavailable, 3).await.0.unwrap(), 3);
        assert_eq!(tries(&steady, ErrorKind::Denied, 3).await.1, 1, "that does not pass");
        let (given_up, tried) = tries(&steady, ErrorKind::Timeout, u32::MAX).await;
        assert!(given_up.is_err() && tried > 10, "{tried}");
        let mut said = Vec::new();
        while let Ok(Note::Said(text)) = noted.try_recv() {
            said.push(text);
        }
        let lost = "note: it is away; trying again";
        assert_eq!(said, [lost, "note: the server answers again", lost]);
    }
}
