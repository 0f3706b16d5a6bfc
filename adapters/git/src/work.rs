//! libgit2 works on threads of its own, and nobody has to wait for them.

use crate::{error, gate::Gate};
use kiln::{Error, ErrorKind, Result, StepCx};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// How long a thread may take to notice that it is to stop, before it is left to itself.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tells a thread to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error if the thread is to stop.
    pub(crate) fn check(&self, op: &'static str) -> Result<()> {
        if self.is_set() { Err(Error::new(ErrorKind::Cancelled, op, "stopped")) } else { Ok(()) }
    }
}

struct SetOnDrop(Stop);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Runs blocking work on a thread of its own until it is done or the step is to stop.
///
/// To stop, the flag is set and the gate closed, which ends all waiting for the network. A thread
/// that still goes on, because libgit2 is deep in a computation, is left to itself: it holds
/// nothing but its own temporary directory, and removes it when it ends.
pub(crate) async fn run<T: Send + 'static>(
    cx: &StepCx,
    op: &'static str,
    gate: Option<Gate>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    if cx.cancel.is_cancelled() {
        return Err(cx.cancelled(op));
    }
    let stop = Stop::default();
    // Also when the future is dropped.
    let _set = SetOnDrop(stop.clone());
    let (tell, told) = oneshot::channel();
    let for_thread = stop.clone();
    let body = move || {
        let _ = tell.send(work(&for_thread));
    };
    std::thread::Builder::new()
        .name("kiln-git".into())
        .spawn(body)
        .map_err(|e| error::io(op, "starting a thread", e))?;
    let mut told = std::pin::pin!(told);
    let ended = match cx.cancel.race(&mut told).await {
        Ok(ended) => ended,
        Err(_) => {
            stop.set();
            drop(gate);
            let _ = timeout(PATIENCE, told).await;
            return Err(cx.cancelled(op));
        }
    };
    let result = ended.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unexpected, op, "the thread that works with git panicked"))
    });
    result.map_err(|e| gate.as_ref().and_then(Gate::failure).unwrap_or(e))
}
