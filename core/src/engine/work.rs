//! A worker: takes builds from a queue and drives them, as long as it lives.

use super::Engine;
use crate::{
    CancelToken, ErrorKind, Result,
    port::{Lease, Node, Queue, Settlement},
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
    pub async fn run(&self, until: CancelToken) -> Result<()> {
        while !until.is_cancelled() {
            let lease = self.queue.lease(&self.node, self.ttl, Duration::from_secs(60));
            match until.race(lease).await {
                Ok(lease) => {
                    if let Some(lease) = lease? {
                        self.work(lease).await?;
                    }
                }
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

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
        match self.queue.settle(&lease, how).await {
            Err(e) if e.kind() == ErrorKind::Conflict => Ok(()),
            other => other,
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
