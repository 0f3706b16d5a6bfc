//! Tells of builds at least once, whoever dies meanwhile, and never holds up a build.
//!
//! Before events that somebody is to be told of are appended to a journal, the [`Outbox`] puts an
//! errand into a queue: *tell this notifier of these places of that journal*. A [`Courier`] leases
//! errands as a worker leases builds, waits for the events to be there, and tells of them. So
//! there is no moment in which an event is in the journal and its errand nowhere, and everything
//! that a queue promises of builds holds for errands: any number of servers share them, and the
//! errands of one that died are free again when its leases expire.
//!
//! A receiver hears of the events of one build in their order. It may hear of one twice, and can
//! tell by [`Notice::seq`](crate::port::Notice) and the build's id.

mod errand;
mod outbox;

pub use errand::{COURIER_LABEL, LANES};
pub use outbox::Outbox;

use crate::{
    BuildView, CancelToken, Error, ErrorKind, NodeId, NotifierName, Recorded, Resources, Result,
    Seq, Status, Timestamp,
    port::{Clock, Lease, Node, Notice, Notifier, Queue, Settlement, Store},
    tenure::{OUTAGE_WAITS, Tenure},
};
use errand::Errand;
use futures::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The first and the longest wait before a receiver is told again.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long a notifier may take. Each has limits of its own; this one frees the lane of one that
/// forgot them.
const NOTIFY_MAX: Duration = Duration::from_secs(300);
/// How long events are waited for whose errand is there. They follow at once, unless the server
/// died between the two, or the store refused them; and who tries again makes the errand again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an errand for a notifier that this server does not have is left to the others.
const ELSEWHERE: Duration = Duration::from_secs(60);

/// Notifiers by their names.
///
/// A name is stored with what is to be delivered, so servers that share a queue give the same
/// names to the same notifiers.
pub type Notifiers = Arc<BTreeMap<NotifierName, Arc<dyn Notifier>>>;

/// Delivers what the [`Outbox`] noted. Every server that has notifiers runs one.
#[derive(Clone, Debug)]
pub struct Courier {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    notifiers: Notifiers,
    clock: Arc<dyn Clock>,
    node: Node,
    ttl: Duration,
    give_up: Duration,
}

/// What became of a notice.
enum Told {
    /// It was delivered, or never will be.
    Over,
    /// The courier is to stop.
    Stopped,
}

impl Courier {
    /// A courier of a server. The name is that of no worker that leases from the same queue.
    pub fn new(
        name: NodeId,
        store: Arc<dyn Store>,
        queue: Arc<dyn Queue>,
        notifiers: Notifiers,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let slots = u16::try_from(notifiers.len() * usize::from(LANES)).unwrap_or(u16::MAX);
        let node = Node {
            id: name,
            labels: errand::labels(),
            slots: slots.max(1),
            resources: Resources::default(),
            drained: false,
            seen_at: clock.now(),
        };
        let (ttl, give_up) = (Duration::from_secs(30), Duration::from_secs(3 * 24 * 3600));
        Self { store, queue, notifiers, clock, node, ttl, give_up }
    }

    /// Says how long a lease lasts without renewal, and so how long a dead courier goes unnoticed;
    /// 30 s without it.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Says how old an event may be for its receiver to be tried once more; 3 days without it.
    #[must_use]
    pub fn give_up(mut self, after: Duration) -> Self {
        self.give_up = after;
        self
    }

    /// Delivers until the token is cancelled. What is not delivered then stays in the queue.
    ///
    /// A queue that is out of reach is asked again, for as long as it takes; any other error of
    /// it ends the courier.
    pub async fn run(&self, until: CancelToken) -> Result<()> {
        let mut errands = FuturesUnordered::new();
        let mut wait = OUTAGE_WAITS.0;
        while !until.is_cancelled() {
            let pause = wait;
            let ask = async move {
                let leased = self.queue.lease(&self.node, self.ttl, Duration::from_secs(60)).await;
                if leased.is_err() {
                    self.clock.sleep(pause).await;
                }
                leased
            };
            let mut ask = ask.boxed().fuse();
            let leased = loop {
                futures::select_biased! {
                    _ = until.cancelled().fuse() => break None,
                    settled = errands.select_next_some() => report(settled)?,
                    leased = ask => break Some(leased),
                }
            };
            match leased {
                None => break,
                Some(Ok(lease)) => {
                    wait = OUTAGE_WAITS.0;
                    errands.extend(lease.map(|lease| self.carry(lease, until.clone())));
                }
                Some(Err(e)) if e.retry_status() == Status::Temporary => {
                    tracing::warn!(error = ?e, "the queue is asked again");
                    wait = (wait * 2).min(OUTAGE_WAITS.1);
                }
                Some(Err(e)) => return Err(e),
            }
        }
        while let Some(settled) = errands.next().await {
            report(settled)?;
        }
        Ok(())
    }

    /// Carries one errand out, as long as its lease is held.
    async fn carry(&self, lease: Lease, until: CancelToken) -> Result<()> {
        let tenure = Tenure::new(&*self.queue, &*self.clock, self.ttl);
        let Some(errand) = Errand::of(&lease.job) else {
            tracing::warn!(job = %lease.job.build, "an errand that cannot be read was dropped");
            return tenure.settle(&lease, Settlement::Done).await;
        };
        let run = self.run_errand(&errand, &until).boxed();
        let how = match select(run, tenure.hold(lease.clone()).boxed()).await {
            Either::Left((Ok(how), _)) => how,
            Either::Left((Err(e), _)) => self.after_error(&errand, &e).await,
            // Another courier has it now.
            Either::Right((e, _)) => {
                tracing::warn!(build = %errand.build, error = ?e, "an errand was lost");
                return Ok(());
            }
        };
        tenure.settle(&lease, how).await
    }

    /// What becomes of an errand whose journal could not be read.
    async fn after_error(&self, errand: &Errand, error: &Error) -> Settlement {
        if error.kind() == ErrorKind::NotFound {
            return Settlement::Done;
        }
        tracing::warn!(build = %errand.build, ?error, "an errand is tried again");
        if error.retry_status() == Status::Permanent {
            return Settlement::Again(self.clock.now().plus(ELSEWHERE));
        }
        self.clock.sleep(WAITS.0).await;
        Settlement::Again(Timestamp::default())
    }

    async fn run_errand(&self, errand: &Errand, until: &CancelToken) -> Result<Settlement> {
        // Free at once, and so the first of its lane again: what came later must not overtake it.
        let back = Settlement::Again(Timestamp::default());
        let Ok(known) = until.race(self.is_there(errand)).await else { return Ok(back) };
        if !known? {
            let (build, seq) = (&errand.build, errand.after.plus(1));
            tracing::info!(%build, %seq, "an event that was announced never came");
            return Ok(Settlement::Done);
        }
        let journal = self.store.load(&errand.build, Seq::START).await?;
        let Some(notifier) = self.notifiers.get(&errand.notifier) else {
            return Ok(self.leave_to_others(errand, &journal));
        };
        for (i, recorded) in journal.iter().enumerate() {
            if !errand.covers(recorded.seq) || !notifier.wants(&recorded.event) {
                continue;
            }
            let build = BuildView::of(&errand.build, &journal[..=i])?.summary;
            let notice = Notice { build, seq: recorded.seq, event: recorded.event.clone() };
            match self.tell(errand, &**notifier, &notice, recorded.at, until).await {
                Told::Over => {}
                Told::Stopped => return Ok(back),
            }
        }
        Ok(Settlement::Done)
    }

    /// Whether the journal has come as far as the errand says, or comes so far in time.
    async fn is_there(&self, errand: &Errand) -> Result<bool> {
        if errand.after > Seq::START {
            // It was there when the errand was made. If it is forgotten, this says so.
            self.store.load(&errand.build, errand.after).await?;
        }
        let until = self.clock.now().plus(PATIENCE);
        loop {
            let left = until.since(self.clock.now());
            let patience = left.min(Duration::from_secs(30));
            if self.store.wait(&errand.build, errand.after, patience).await? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn leave_to_others(&self, errand: &Errand, journal: &[Recorded]) -> Settlement {
        let (now, notifier) = (self.clock.now(), &errand.notifier);
        let at = journal.iter().filter(|r| errand.covers(r.seq)).map(|r| r.at).max();
        if now.since(at.unwrap_or(now)) < self.give_up {
            return Settlement::Again(now.plus(ELSEWHERE));
        }
        tracing::warn!(build = %errand.build, %notifier, "no server has this notifier any more");
        Settlement::Done
    }

    /// Tells once, within a time.
    async fn once(&self, notifier: &dyn Notifier, notice: &Notice) -> Result<()> {
        match select(notifier.notify(notice), self.clock.sleep(NOTIFY_MAX)).await {
            Either::Left((told, _)) => told,
            Either::Right(_) => {
                let message = "the notifier did not end by itself";
                Err(Error::new(ErrorKind::Timeout, "Courier", message))
            }
        }
    }

    /// Tells until it is told, refused for good, or too old.
    async fn tell(
        &self,
        errand: &Errand,
        notifier: &dyn Notifier,
        notice: &Notice,
        at: Timestamp,
        until: &CancelToken,
    ) -> Told {
        let mut wait = WAITS.0;
        loop {
            let Ok(told) = until.race(self.once(notifier, notice)).await else {
                return Told::Stopped;
            };
            let Err(error) = told else { return Told::Over };
            let (build, seq, notifier) = (&errand.build, notice.seq, &errand.notifier);
            if error.retry_status() == Status::Permanent {
                tracing::warn!(%build, %seq, %notifier, ?error, "a notice was refused for good");
                return Told::Over;
            }
            if self.clock.now().since(at) >= self.give_up {
                tracing::warn!(%build, %seq, %notifier, ?error, "a notice was given up");
                return Told::Over;
            }
            tracing::info!(%build, %seq, %notifier, ?error, "a notice is tried again");
            if until.race(self.clock.sleep(wait)).await.is_err() {
                return Told::Stopped;
            }
            wait = (wait * 2).min(WAITS.1);
        }
    }
}

/// A lease that could not be given back expires; only what does not pass ends the courier.
fn report(settled: Result<()>) -> Result<()> {
    match settled {
        Err(error) if error.retry_status() != Status::Permanent => {
            tracing::warn!(?error, "an errand was not given back");
            Ok(())
        }
        other => other,
    }
}
