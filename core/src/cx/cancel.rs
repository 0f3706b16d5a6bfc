use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Why a step is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The build was cancelled.
    Cancel,
    /// The step or the build took too long.
    Timeout,
    /// Another driver has the build now: stop, and leave its effects alone.
    Fenced,
}

/// Tells a step to stop. Clones share one state; it never goes back.
///
/// A step looks at it between pieces of work, or waits for it beside its work. It never has its
/// future dropped instead: dropping would skip its clean-up without a word.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    reason: Option<StopReason>,
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl CancelToken {
    /// A token nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the step to stop. The first reason stays.
    pub fn cancel(&self, reason: StopReason) {
        let wakers = {
            let mut state = self.lock();
            state.reason.get_or_insert(reason);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Whether the step is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.lock().reason.is_some()
    }

    /// Why the step is to stop, if it is.
    pub fn reason(&self) -> Option<StopReason> {
        self.lock().reason
    }

    /// Waits until the step is to stop.
    pub fn cancelled(&self) -> impl Future<Output = StopReason> + Send + 'static {
        Cancelled { token: self.clone(), id: None }
    }

    /// Runs a future until it is done or the step is to stop; then the future is dropped and the
    /// reason returned. Only for futures that may be dropped.
    pub async fn race<F: Future>(&self, future: F) -> Result<F::Output, StopReason> {
        use futures::future::{Either, select};
        let stop = std::pin::pin!(self.cancelled());
        match select(stop, std::pin::pin!(future)).await {
            Either::Left((reason, _)) => Err(reason),
            Either::Right((output, _)) => Ok(output),
        }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.reason()).finish()
    }
}

struct Cancelled {
    token: CancelToken,
    id: Option<u64>,
}

impl Future for Cancelled {
    type Output = StopReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StopReason> {
        let token = self.token.clone();
        let mut state = token.lock();
        if let Some(reason) = state.reason {
            return Poll::Ready(reason);
        }
        let id = *self.id.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        state.wakers.insert(id, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.token.lock().wakers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, executor::block_on};

    #[test]
    fn waiters_wake_and_the_first_reason_stays() {
        let token = CancelToken::new();
        let mut wait = token.cancelled().boxed();
        assert!((&mut wait).now_or_never().is_none());
        token.clone().cancel(StopReason::Timeout);
        token.cancel(StopReason::Cancel);
        assert_eq!(block_on(wait), StopReason::Timeout);
        assert_eq!(token.reason(), Some(StopReason::Timeout));
    }

    #[test]
    fn dropped_waiters_leave_nothing_behind() {
        let token = CancelToken::new();
        for _ in 0..3 {
            assert!(token.cancelled().now_or_never().is_none());
        }
        assert!(token.lock().wakers.is_empty());
    }

    #[test]
    fn a_race_ends_with_whoever_is_first() {
        let token = CancelToken::new();
        assert_eq!(block_on(token.race(async { 1 })), Ok(1));
        token.cancel(StopReason::Cancel);
        assert_eq!(block_on(token.race(std::future::pending::<()>())), Err(StopReason::Cancel));
    }
}
