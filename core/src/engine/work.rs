//! A worker: takes builds from a queue and drives them, as long as it lives.

use super::Engine;
use crate::{
    CancelToken, ErrorKind, Result, Status,
    port::{Lease, Node, Queue, Settlement},
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use std::{sync::Arc, time::Duration};

/// The first and the longest wait between two questions to a queue that is out of reach.
const OUTAGE_WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Takes builds from a queue and drives them, one at a time. Run as many side by side as the node
/// has slots.
#[derive(Clone, Debug)]
pub struct Worker {
    engine: Engine,
    queue: Arc<dyn Queue>,
    node: Node,
    ttl: Duration,
}

impl Worker {
    /// A worker of a node, whose leases last 30 s between renewals.
    pub fn new(engine: Engine, queue: Arc<dyn Queue>, node: Node) -> Self {
        Self { engine, queue, node, ttl: Duration::from_secs(30) }
    }

    /// Says how long a lease lasts without renewal, and so how long a dead worker goes unnoticed.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Works until the token is cancelled; a build that is driven then is driven to its end.
    ///
    /// A queue that is out of reach is asked again, for as long as it takes; any other error of
    /// it ends the worker.
    pub async fn run(&self, until: CancelToken) -> Result<()> {
        let mut wait = OUTAGE_WAITS.0;
        loop {
            let lease = self.queue.lease(&self.node, self.ttl, Duration::from_secs(60));
            let Ok(leased) = until.race(lease).await else { return Ok(()) };
            let worked = match leased {
                Ok(Some(lease)) => self.work(lease).await,
                Ok(None) => Ok(()),
                Err(e) => Err(e),
            };
            match worked {
                Ok(()) => wait = OUTAGE_WAITS.0,
                Err(e) if e.retry_status() == Status::Temporary => {
                    tracing::warn!(error = ?e, "the queue is asked again");
                    // To be told to stop meanwhile is seen above.
                    let _ = until.race(self.engine.tools.clock.sleep(wait)).await;
                    wait = (wait * 2).min(OUTAGE_WAITS.1);
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Drives one build.
    async fn work(&self, lease: Lease) -> Result<()> {
        let driven = {
            let drive = self.engine.drive(&lease.job.build).boxed();
            let hold = self.hold(lease.clone()).boxed();
            match select(drive, hold).await {
                Either::Left((driven, _)) => driven.map(drop),
                // The lease is gone, so somebody else will drive: stop at once, as in a crash.
                Either::Right((error, _)) => Err(error),
            }
        };
        let how = match &driven {
            Ok(()) => Settlement::Done,
            Err(e) if e.kind() == ErrorKind::NotFound => Settlement::Done,
            Err(e) => {
                tracing::warn!(build = %lease.job.build, error = ?e, "given back");
                Settlement::Again(self.engine.tools.clock.now().plus(Duration::from_secs(1)))
            }
        };
        self.settle(&lease, how).await
    }

    /// Gives a lease back; tries for as long as it would last, and then it expires by itself.
    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        let clock = &self.engine.tools.clock;
        let (until, mut wait) = (clock.now().plus(self.ttl), OUTAGE_WAITS.0);
        loop {
            match self.queue.settle(lease, how).await {
                // Not ours any more; or it was given back, and the answer was lost.
                Err(e) if e.kind() == ErrorKind::Conflict => return Ok(()),
                Err(e) if e.retry_status() == Status::Temporary && clock.now() < until => {
                    tracing::warn!(error = ?e, "a lease was not given back yet");
                    clock.sleep(wait).await;
                    wait = (wait * 2).min(OUTAGE_WAITS.1);
                }
                other => return other,
            }
        }
    }

    /// Renews a lease for as long as it can; returns why it could not.
    async fn hold(&self, mut lease: Lease) -> crate::Error {
        loop {
            self.engine.tools.clock.sleep(self.ttl / 3).await;
            match self.queue.renew(&lease, self.ttl).await {
                Ok(renewed) => lease = renewed,
                Err(e) if e.kind() == ErrorKind::Conflict => return e,
                Err(e) => tracing::warn!(error = ?e, "a lease was not renewed yet"),
            }
        }
    }
}
