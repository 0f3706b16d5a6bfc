//! One attempt of a step as its driver sees it: a future, a token, and words on the way.

use super::perform::{Pins, perform};
use crate::{
    BuildState, CancelToken, Error, ErrorKind, Output, Result, Revision, StepCx, StepId, StepLog,
    toolbox::Toolbox,
};
use async_trait::async_trait;
use futures::{
    channel::{mpsc, oneshot},
    future::{AbortHandle, Abortable, BoxFuture, FutureExt},
};
use std::sync::Arc;

/// A running attempt.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) attempt: u8,
    pub(super) cancel: CancelToken,
    pub(super) log: StepLog,
    pub(super) abort: AbortHandle,
    /// Whether it was stopped for having gone quiet.
    pub(super) silenced: bool,
}

/// An attempt that is over; `Err` inside `Ok` is the port's answer, `None` one that was given up.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) step: StepId,
    pub(super) attempt: u8,
    pub(super) result: Option<Result<Box<Output>>>,
}

/// A step that wants to be pinned before it goes on.
#[derive(Debug)]
pub(super) struct PinWanted {
    pub(super) step: StepId,
    pub(super) attempt: u8,
    pub(super) revision: Revision,
    pub(super) answer: oneshot::Sender<Revision>,
}

/// Lets a step talk to its driver.
#[derive(Debug)]
struct Line {
    step: StepId,
    attempt: u8,
    to_driver: mpsc::UnboundedSender<PinWanted>,
}

#[async_trait]
impl Pins for Line {
    async fn pin(&self, revision: Revision) -> Result<Revision> {
        let gone = || Error::new(ErrorKind::Cancelled, "Engine::pin", "the driver stopped");
        let (answer, pinned) = oneshot::channel();
        let wanted = PinWanted { step: self.step, attempt: self.attempt, revision, answer };
        self.to_driver.unbounded_send(wanted).map_err(|_| gone())?;
        pinned.await.map_err(|_| gone())
    }
}

/// Makes the future of one attempt.
pub(super) fn begin(
    tools: Arc<Toolbox>,
    state: BuildState,
    cx: StepCx,
    local_paths: bool,
    to_driver: mpsc::UnboundedSender<PinWanted>,
) -> (Running, BoxFuture<'static, Over>) {
    let (step, attempt) = (cx.key.step, cx.key.attempt);
    let (abort, registration) = AbortHandle::new_pair();
    let running =
        Running { attempt, cancel: cx.cancel.clone(), log: cx.log.clone(), abort, silenced: false };
    let line = Line { step, attempt, to_driver };
    let work = async move { perform(&tools, &state, &cx, local_paths, &line).await.map(Box::new) };
    let over = Abortable::new(work, registration).map(move |result| Over {
        step,
        attempt,
        result: result.ok(),
    });
    (running, over.boxed())
}
