use super::{Around, Call};
use crate::{CancelToken, Error, ErrorKind, Result, StepCx, StopReason, port::Clock};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use std::{pin::pin, sync::Arc, time::Duration};

/// Ends a call that takes too long with `Timeout`.
///
/// A call that is made for a step is told to stop by its token, as for any other reason, and has a
/// grace time to clean up. Any other call is dropped: its fate is unknown, as after a lost answer.
/// What a call may wait for news by itself, such as the patience of
/// [`Queue::lease`](crate::port::Queue::lease), is granted on top.
#[derive(Clone, Debug)]
pub struct Timeout {
    clock: Arc<dyn Clock>,
    limit: Duration,
    grace: Duration,
}

impl Timeout {
    /// Limits each call to this time; a step then has five more seconds to stop.
    pub fn new(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self { clock, limit, grace: Duration::from_secs(5) }
    }

    /// Chooses how long a step that is told to stop may take for it.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    fn over(&self, op: &'static str) -> Error {
        Error::new(ErrorKind::Timeout, op, "it took longer than allowed")
            .with("limit", format_args!("{:?}", self.limit))
    }
}

impl Around for Timeout {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let limit = pin!(self.clock.sleep(self.limit.saturating_add(call.patience)));
        match select(work(), limit).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(self.over(call.op)),
        }
    }

    async fn around_step<'a, T, W>(&'a self, call: Call<'a>, cx: &'a StepCx, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn(StepCx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let inner = CancelToken::new();
        let mut work = work(StepCx { cancel: inner.clone(), ..cx.clone() }).fuse();
        let mut limit = self.clock.sleep(self.limit.saturating_add(call.patience)).fuse();
        let mut outer = pin!(cx.cancel.cancelled().fuse());
        // Word from outside first: the call must not begin in the belief that it may.
        let ours = futures::select_biased! {
            reason = outer => {
                inner.cancel(reason);
                false
            }
            answer = work => return answer,
            () = limit => {
                inner.cancel(StopReason::Timeout);
                true
            }
        };
        if !ours {
            // Whoever told the step to stop watches its grace time too.
            return work.await;
        }
        let mut grace = self.clock.sleep(self.grace).fuse();
        futures::select_biased! {
            answer = work => match answer {
                Err(e) if e.kind() == ErrorKind::Cancelled => Err(self.over(call.op)),
                answer => answer,
            },
            () = grace => Err(self.over(call.op).with("grace", format_args!("{:?}", self.grace))),
        }
    }
}
