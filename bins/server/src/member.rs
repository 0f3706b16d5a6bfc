//! Nodes that this process drives the builds of: known to the fleet, drained when they are told to.

use crate::compose::Member;
use kiln::{CancelToken, Error, ErrorKind, Result, Status, StopReason, Worker};
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet};

/// How often a node says that it is there, and learns whether it is drained.
const BEAT: Duration = Duration::from_secs(10);

/// How long a worker waits after trouble that does not pass by itself.
const AGAIN: Duration = Duration::from_secs(5);

/// Whether a node takes builds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Open,
    /// Somebody drained it, or its host does not answer.
    Closed,
}

impl Member {
    /// Drives builds until told to stop; then those that run come to their end.
    pub(crate) async fn run(self, stop: CancelToken) -> Result<()> {
        let (mood, moods) = watch::channel(Mood::Closed);
        let beating = self.beat(mood);
        let working = self.work(moods, stop);
        tokio::select! {
            worked = working => worked,
            never = beating => match never {},
        }
    }

    /// Keeps the node known for as long as it is polled.
    async fn beat(&self, mood: watch::Sender<Mood>) -> std::convert::Infallible {
        let mut known = false;
        loop {
            let now = match self.look(&mut known).await {
                Ok(now) => now,
                // Workers wait for a store that is away by themselves. To close would keep those
                // who are free from work until the last of the others is done.
                Err(e) if known && e.retry_status() == Status::Temporary => {
                    tracing::warn!(node = %self.node.id, error = ?e, "the fleet is not there now");
                    *mood.borrow()
                }
                Err(e) => {
                    tracing::warn!(node = %self.node.id, error = ?e, "the node is not there now");
                    Mood::Closed
                }
            };
            let changed = mood.send_if_modified(|old| std::mem::replace(old, now) != now);
            if changed {
                let open = now == Mood::Open;
                tracing::info!(node = %self.node.id, slots = self.node.slots, open, "a node");
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    async fn look(&self, known: &mut bool) -> Result<Mood> {
        if let Some(host) = &self.host
            && let Err(e) = host.answers().await
        {
            tracing::warn!(node = %self.node.id, error = ?e, "the host is not there now");
            return Ok(Mood::Closed);
        }
        let (id, at) = (&self.node.id, self.engine.tools().clock.now());
        let found = self.fleet.nodes().await?.into_iter().find(|n| n.id == *id);
        let drained = found.as_ref().is_some_and(|n| n.drained);
        match (found.is_some(), *known) {
            (true, true) => self.fleet.beat(id, at).await?,
            // As it is now; whoever drained it before this start still has it drained.
            (_, false) => {
                let node = kiln::port::Node { drained, seen_at: at, ..self.node.clone() };
                self.fleet.enrol(&node).await?;
                *known = true;
            }
            (false, true) => return Err(removed(id)),
        }
        Ok(if drained { Mood::Closed } else { Mood::Open })
    }

    async fn work(&self, mut moods: watch::Receiver<Mood>, stop: CancelToken) -> Result<()> {
        loop {
            // The sender lives as long as this does.
            let opened = async { moods.wait_for(|m| *m == Mood::Open).await.map(drop) };
            tokio::select! {
                _ = stop.cancelled() => return Ok(()),
                _ = opened => {}
            }
            let enough = CancelToken::new();
            let mut workers = JoinSet::new();
            for _ in 0..self.node.slots {
                let worker =
                    Worker::new(self.engine.clone(), self.queue.clone(), self.node.clone());
                workers.spawn(drive(worker, enough.clone()));
            }
            let closed = async { moods.wait_for(|m| *m == Mood::Closed).await.map(drop) };
            tokio::select! {
                _ = stop.cancelled() => {}
                _ = closed => {}
                Some(ended) = workers.join_next() => return flat(ended),
            }
            enough.cancel(StopReason::Cancel);
            while let Some(ended) = workers.join_next().await {
                flat(ended)?;
            }
        }
    }
}

/// Drives builds, one after the other. Trouble that somebody can end, such as a full disk, ends
/// nothing here: the queue is asked again.
async fn drive(worker: Worker, until: CancelToken) -> Result<()> {
    loop {
        match worker.run(until.clone()).await {
            Err(e) if !is_final(&e) => {
                tracing::warn!(error = ?e, "the queue is asked again");
                if until.race(tokio::time::sleep(AGAIN)).await.is_err() {
                    return Ok(());
                }
            }
            ended => return ended,
        }
    }
}

/// Whether a queue that says this will say the same until the settings are others.
fn is_final(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Denied | ErrorKind::Unsupported | ErrorKind::Invalid)
}

/// Whoever removed the node did not want it; it comes again with the next start.
fn removed(id: &kiln::NodeId) -> Error {
    Error::new(ErrorKind::NotFound, "Fleet::beat", "the node was removed").with("node", id)
}

fn flat(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.unwrap_or_else(|e| {
        Err(Error::new(ErrorKind::Unexpected, "kiln-server", "a worker died").source(e))
    })
}
