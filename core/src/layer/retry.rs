use super::{Again, Around, Call};
use crate::{Attempts, Error, Result, Status, StepCx, port::Clock};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};

/// Makes a call again that failed for a passing reason, where that is [`Again::Safe`].
///
/// Between two calls it waits, each time twice as long; a step that is told to stop waits no
/// longer. The last error comes back as [`Status::Persistent`], so that nobody further out tries
/// again what was tried here.
#[derive(Clone, Debug)]
pub struct Retry {
    clock: Arc<dyn Clock>,
    attempts: Attempts,
    wait_max: Duration,
}

impl Retry {
    /// Tries up to so many times, with the waits of [`Attempts::backoff`].
    pub fn new(clock: Arc<dyn Clock>, attempts: Attempts) -> Self {
        Self { clock, attempts, wait_max: Attempts::BACKOFF_MAX }
    }

    /// Waits no longer than this between two calls, so that the end of a long outage is soon seen.
    #[must_use]
    pub fn wait_max(self, wait_max: Duration) -> Self {
        Self { wait_max, ..self }
    }

    /// How long to wait before the next attempt; the error itself if there is to be none.
    fn wait(&self, call: &Call<'_>, attempt: u8, error: Error) -> Result<Duration> {
        if call.again != Again::Safe || error.retry_status() != Status::Temporary {
            return Err(error);
        }
        if attempt >= self.attempts.max {
            return Err(match attempt {
                1 => error,
                _ => error.with("attempts", attempt),
            }
            .status(Status::Persistent));
        }
        tracing::debug!(op = call.op, attempt, ?error, "tried again");
        Ok(self.attempts.backoff(attempt).min(self.wait_max))
    }
}

impl Around for Retry {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let mut attempt = 1;
        loop {
            let error = match work().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = self.clock.sleep(self.wait(&call, attempt, error)?);
            match call.cx {
                None => wait.await,
                Some(cx) => stop_or(cx, call.op, wait).await?,
            }
            attempt += 1;
        }
    }
}

/// Waits for a future that may be dropped, unless the step is told to stop.
pub(super) async fn stop_or<F: Future>(
    cx: &StepCx,
    op: &'static str,
    wait: F,
) -> Result<F::Output> {
    cx.cancel.race(wait).await.map_err(|_| cx.cancelled(op))
}
