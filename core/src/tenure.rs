//! A lease, held for as long as its work takes, and given back.

use crate::{
    Error, ErrorKind, Result, Status,
    port::{Clock, Lease, Queue, Settlement},
};
use std::time::Duration;

/// The first and the longest wait between two questions to a queue that is out of reach.
pub(crate) const OUTAGE_WAITS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(10));
/// The longest wait before a lease that could not be renewed is tried again.
const RENEW_WAIT: Duration = Duration::from_secs(1);

/// How leases of a queue are kept: renewed in time, and given back.
#[derive(Clone, Copy)]
pub(crate) struct Tenure<'a> {
    queue: &'a dyn Queue,
    clock: &'a dyn Clock,
    ttl: Duration,
}

impl<'a> Tenure<'a> {
    /// Leases that last so long between renewals.
    pub(crate) fn new(queue: &'a dyn Queue, clock: &'a dyn Clock, ttl: Duration) -> Self {
        Self { queue, clock, ttl }
    }

    /// Renews a lease for as long as it can; returns why it could not.
    ///
    /// While the queue is out of reach it is asked often: a lease that lapsed meanwhile has to be
    /// renewed before those who wait for one ask again.
    pub(crate) async fn hold(self, mut lease: Lease) -> Error {
        let usual = self.ttl / 3;
        let mut wait = usual;
        loop {
            self.clock.sleep(wait).await;
            wait = match self.queue.renew(&lease, self.ttl).await {
                Ok(renewed) => {
                    lease = renewed;
                    usual
                }
                Err(e) if e.kind() == ErrorKind::Conflict => return e,
                Err(e) => {
                    tracing::warn!(error = ?e, "a lease was not renewed yet");
                    usual.min(RENEW_WAIT)
                }
            };
        }
    }

    /// Gives a lease back; tries for as long as it would last, and then it expires by itself.
    pub(crate) async fn settle(self, lease: &Lease, how: Settlement) -> Result<()> {
        let (until, mut wait) = (self.clock.now().plus(self.ttl), OUTAGE_WAITS.0);
        loop {
            match self.queue.settle(lease, how).await {
                // Not ours any more; or it was given back, and the answer was lost.
                Err(e) if e.kind() == ErrorKind::Conflict => return Ok(()),
                Err(e) if e.retry_status() == Status::Temporary && self.clock.now() < until => {
                    tracing::warn!(error = ?e, "a lease was not given back yet");
                    self.clock.sleep(wait).await;
                    wait = (wait * 2).min(OUTAGE_WAITS.1);
                }
                other => return other,
            }
        }
    }
}
