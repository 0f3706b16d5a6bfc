//! A worker: takes builds from a queue and drives them, as long as it lives.

use super::Engine;
use crate::{
    CancelToken, ErrorKind, Result, Status,
    port::{Lease, Node, Queue, Settlement},
    tenure::{OUTAGE_WAITS, Tenure},
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use std::{sync::Arc, time::Duration};

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

    /// Drives the build of a lease that is held already, such as one that this node got before its
    /// process died, and gives the lease back. A step that runs still is reattached to.
    ///
    /// Errors as [`Worker::run`] ends with.
    pub async fn resume(&self, lease: Lease) -> Result<()> {
        self.work(lease).await
    }

    /// Drives one build.
    async fn work(&self, lease: Lease) -> Result<()> {
        let tenure = Tenure::new(&*self.queue, &*self.engine.tools.clock, self.ttl);
        let driven = {
            let drive = self.engine.drive(&lease.job.build).boxed();
            let hold = tenure.hold(lease.clone()).boxed();
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
        tenure.settle(&lease, how).await
    }
}
