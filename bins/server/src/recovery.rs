//! Leases after an outage of the queue: those that were there come first.

use async_trait::async_trait;
use kiln::{
    BuildId, Error, Result, Status,
    port::{Job, Lease, Node, Queue, Settlement},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long one look may wait for a job: an outage is noticed before a lease lapses in it, which is
/// 20 s after it was renewed last.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// A queue that gives out no lease for a while after it was out of reach.
///
/// Leases lapse in an outage, and whoever holds one renews it as soon as it can. Until then nobody
/// else may have it: its steps run still, and would be lost.
#[derive(Debug)]
pub(crate) struct Recovering {
    queue: Arc<dyn Queue>,
    hold: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// It answered last.
    There,
    /// It did not.
    Away,
    /// It does again, since not long ago.
    Back(Instant),
}

impl Recovering {
    /// A queue that is held back for so long after an outage.
    pub(crate) fn around(queue: Arc<dyn Queue>, hold: Duration) -> Arc<dyn Queue> {
        Arc::new(Self { queue, hold, state: Mutex::new(State::There) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the queue is away.
    fn heard<T>(&self, answer: Result<T>) -> Result<T> {
        let away = |e: &Error| e.retry_status() != Status::Permanent;
        if answer.as_ref().err().is_some_and(away) {
            *self.state() = State::Away;
        }
        answer
    }

    /// How long nothing is given out still. The error is that of a queue that is away yet.
    async fn shut_for(&self) -> Result<Duration> {
        if matches!(*self.state(), State::Away) {
            // What changes nothing asks whether it is there. There is no such build.
            self.queue.remove(&BuildId::random()).await?;
            let mut state = self.state();
            if matches!(*state, State::Away) {
                tracing::info!(seconds = self.hold.as_secs(), "the queue is back; leases wait");
                *state = State::Back(Instant::now() + self.hold);
            }
        }
        let mut state = self.state();
        let State::Back(open_at) = *state else { return Ok(Duration::ZERO) };
        let left = open_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            *state = State::There;
        }
        Ok(left)
    }
}

#[async_trait]
impl Queue for Recovering {
    async fn push(&self, job: Job) -> Result<()> {
        self.heard(self.queue.push(job).await)
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        // A patience that no clock can count to is one without end.
        let until = Instant::now().checked_add(patience);
        loop {
            let left = until.map(|at| at.saturating_duration_since(Instant::now()));
            let look = left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
            let shut = self.shut_for().await?;
            if shut.is_zero() {
                let leased = self.heard(self.queue.lease(node, ttl, look).await)?;
                if leased.is_some() {
                    return Ok(leased);
                }
            } else {
                sleep(shut.min(look)).await;
            }
            if left.is_some_and(|left| left <= look) {
                return Ok(None);
            }
        }
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        self.heard(self.queue.renew(lease, ttl).await)
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        self.heard(self.queue.settle(lease, how).await)
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        self.heard(self.queue.remove(build).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{ErrorKind, NodeId, Owner, Resources, Timestamp, memory::MemoryQueue};
    use std::sync::atomic::{AtomicBool, Ordering};

    const TTL: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(600);

    /// A queue that can be out of reach.
    #[derive(Debug, Default)]
    struct Flaky(MemoryQueue, AtomicBool);

    impl Flaky {
        fn asked(&self) -> Result<()> {
            match self.1.load(Ordering::SeqCst) {
                true => Err(Error::new(ErrorKind::Unavailable, "Flaky", "away")),
                false => Ok(()),
            }
        }
    }

    #[async_trait]
    impl Queue for Flaky {
        async fn push(&self, job: Job) -> Result<()> {
            self.asked()?;
            self.0.push(job).await
        }

        async fn lease(&self, n: &Node, ttl: Duration, p: Duration) -> Result<Option<Lease>> {
            self.asked()?;
            self.0.lease(n, ttl, p).await
        }

        async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
            self.asked()?;
            self.0.renew(lease, ttl).await
        }

        async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
            self.asked()?;
            self.0.settle(lease, how).await
        }

        async fn remove(&self, build: &BuildId) -> Result<bool> {
            self.asked()?;
            self.0.remove(build).await
        }
    }

    fn node() -> Node {
        Node {
            id: NodeId::new("n").unwrap(),
            labels: [].into(),
            slots: 9,
            resources: Resources::default(),
            drained: false,
            seen_at: Timestamp(0),
        }
    }

    /// A queue that was out of reach while a lease of it lapsed, and that lease.
    async fn after_an_outage(hold: Duration) -> (Arc<dyn Queue>, Lease) {
        let flaky = Arc::new(Flaky::default());
        let queue = Recovering::around(flaky.clone(), hold);
        queue.push(Job::new(BuildId::new("b").unwrap(), Owner::local())).await.unwrap();
        let held = queue.lease(&node(), TTL, Duration::ZERO).await.unwrap().unwrap();
        sleep(TTL * 5).await;
        flaky.1.store(true, Ordering::SeqCst);
        let away = queue.lease(&node(), TTL, LONG).await.unwrap_err();
        assert_eq!(away.kind(), ErrorKind::Unavailable);
        assert!(queue.lease(&node(), TTL, LONG).await.is_err());
        flaky.1.store(false, Ordering::SeqCst);
        (queue, held)
    }

    #[tokio::test]
    async fn who_had_a_lease_renews_it_before_another_gets_it() {
        let (queue, held) = after_an_outage(LONG).await;
        // It lapsed, and is there for anybody; but not yet.
        assert_eq!(queue.lease(&node(), TTL, TTL * 20).await.unwrap(), None);
        queue.renew(&held, LONG).await.unwrap();
        queue.settle(&held, Settlement::Done).await.unwrap();
    }

    #[tokio::test]
    async fn what_nobody_renews_another_gets_in_the_end() {
        let (queue, held) = after_an_outage(TTL * 20).await;
        let other = queue.lease(&node(), LONG, LONG).await.unwrap().unwrap();
        assert!(other.token > held.token);
        assert!(queue.renew(&held, LONG).await.is_err());
    }
}
