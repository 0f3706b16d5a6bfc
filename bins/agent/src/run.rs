//! The running agent: enrolled, beating, driving; and its orderly end.

use crate::{
    beat::{Beat, is_final, until_there},
    janitor::{Janitor, Leftovers},
    kept::Kept,
};
use kiln::{
    Attempts, CancelToken, Engine, Error, ErrorKind, Result, StopReason, Toolbox, Worker,
    layer::{Layered, Retry},
    port::{Fleet, Lease, Node, Queue, Settlement},
};
use kiln_remote::{
    RemoteArtifacts, RemoteClient, RemoteFleet, RemoteIndex, RemoteLogs, RemoteQueue,
    RemoteSecrets, RemoteStore,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long a server may be away before a build is given up for this driver.
const OUTAGE_MAX: Duration = Duration::from_secs(300);
/// The longest wait between two tries, and how many of them are [`OUTAGE_MAX`].
const WAIT_MAX: Duration = Duration::from_secs(5);
const TRIES: Attempts = Attempts { max: 66, backoff_ms: 50 };
/// How long it may take to hand one build back.
const HAND_BACK: Duration = Duration::from_secs(20);

/// What an agent is made of.
#[derive(Debug)]
pub struct Agent {
    /// The way to the server.
    pub client: RemoteClient,
    /// What acts on this machine: sources, builders, runtime, containers, registry, workspaces. What
    /// remembers is replaced by the server's.
    pub effects: Toolbox,
    /// The node, as it is made known.
    pub node: Node,
    /// Where the leases are kept, in an existing directory.
    pub leases: PathBuf,
    /// How long a lease lasts without renewal.
    pub lease_time: Duration,
    /// How long builds have to end when the agent is told to stop.
    pub drain_time: Duration,
    /// What finds leftovers of builds beside their directories.
    pub leftovers: Option<Arc<dyn Leftovers>>,
}

/// Tells an agent to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// To take no more builds, and to end with those that run, or hand them back.
    pub drain: CancelToken,
    /// To end at once, as in a crash: the next start goes on.
    pub now: CancelToken,
}

/// Runs an agent until it is told to stop, or until the server refuses it.
///
/// Builds that the process before had are gone on with. On an orderly end nothing of a build is left
/// here, and the server does not know the node any more unless it is drained.
pub async fn run(agent: Agent, stop: Stop) -> Result<()> {
    let now = stop.now.clone();
    match now.race(Running::new(agent).work(stop)).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("ended at once; the next start goes on with what runs");
            Ok(())
        }
    }
}

struct Running {
    worker: Worker,
    kept: Arc<Kept>,
    janitor: Arc<Janitor>,
    beat: Beat,
    ttl: Duration,
    drain_time: Duration,
}

/// The toolbox of a driver whose memory is the server's.
fn tools(client: &RemoteClient, effects: Toolbox, node: &Node) -> Toolbox {
    let logs = Arc::new(RemoteLogs::new(client.clone()));
    let retry = Retry::new(effects.clock.clone(), TRIES).wait_max(WAIT_MAX);
    let secrets = Arc::new(RemoteSecrets::new(client.clone()));
    let tools = Toolbox {
        store: Arc::new(RemoteStore::new(client.clone())),
        log_sink: logs.clone(),
        log_reader: logs,
        index: Arc::new(RemoteIndex::new(client.clone())),
        artifacts: Arc::new(RemoteArtifacts::new(client.clone())),
        // What is redacted must not depend on whether the server is there just now.
        secrets: Arc::new(Layered::new(secrets, retry.clone())),
        node: node.id.clone(),
        ..effects
    };
    tools.layer_memory(&retry)
}

impl Running {
    fn new(agent: Agent) -> Self {
        let Agent { client, effects, node, leases, lease_time, drain_time, leftovers } = agent;
        let tools = tools(&client, effects, &node);
        let clock = tools.clock.clone();
        let engine = Engine::builder().toolbox(tools.clone()).outage_max(OUTAGE_MAX).build();
        let kept = Arc::new(Kept::new(Arc::new(RemoteQueue::new(client.clone())), leases));
        let worker = Worker::new(engine, kept.clone(), node.clone()).ttl(lease_time);
        let janitor = Arc::new(Janitor { tools, kept: kept.clone(), leftovers });
        let beat = Beat { fleet: RemoteFleet::new(client), clock, node };
        Self { worker, kept, janitor, beat, ttl: lease_time, drain_time }
    }

    async fn work(self, stop: Stop) -> Result<()> {
        let Ok(enrolled) = stop.drain.race(self.beat.enrol()).await else { return Ok(()) };
        enrolled?;
        let mut driving = JoinSet::new();
        let Ok(before) = stop.drain.race(self.leases_of_before()).await else { return Ok(()) };
        for lease in before? {
            let worker = self.worker.clone();
            driving.spawn(async move {
                worker.resume(lease).await.or_else(|e| {
                    tracing::warn!(error = ?e, "a build was not gone on with");
                    Ok(())
                })
            });
        }
        for _ in 0..self.beat.node.slots {
            driving.spawn(drive(self.worker.clone(), self.beat.clone(), stop.drain.clone()));
        }
        let (beat, quiet) = (self.beat.clone(), CancelToken::new());
        let until = quiet.clone();
        let mut beating = tokio::spawn(async move { beat.work(until).await });
        let janitor = self.janitor.clone();
        let sweeping = tokio::spawn(async move { janitor.work().await });
        tracing::info!(
            node = %self.beat.node.id,
            slots = self.beat.node.slots,
            labels = ?self.beat.node.labels,
            "ready"
        );
        let refused = watch(&mut driving, &mut beating, &stop.drain).await;
        if refused.is_ok() {
            self.drain(driving, sweeping.abort_handle()).await;
        }
        sweeping.abort();
        quiet.cancel(StopReason::Cancel);
        refused?;
        if let Ok(Ok(Ok(false))) = timeout(HAND_BACK, beating).await {
            let _ = timeout(HAND_BACK, self.beat.fleet.remove(&self.beat.node.id)).await;
        }
        tracing::info!("ended");
        Ok(())
    }

    /// What the process before had and this node has still.
    async fn leases_of_before(&self) -> Result<Vec<Lease>> {
        let mut ours = Vec::new();
        for lease in self.kept.take_over() {
            let build = &lease.job.build;
            match until_there("the server", async || self.kept.renew(&lease, self.ttl).await).await
            {
                Ok(lease) => {
                    tracing::info!(%build, "goes on");
                    ours.push(lease);
                }
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::Denied) => {
                    tracing::info!(%build, "somebody else has it now");
                    self.kept.forget(&lease);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(ours)
    }

    /// Lets what runs come to its end, for as long as there is time, and hands back what is left.
    async fn drain(&self, mut driving: JoinSet<Result<()>>, sweeping: tokio::task::AbortHandle) {
        tracing::info!(seconds = self.drain_time.as_secs(), "draining");
        let all = async { while driving.join_next().await.is_some() {} };
        let in_time = timeout(self.drain_time, all).await.is_ok();
        sweeping.abort();
        if in_time && self.kept.all().is_empty() {
            return;
        }
        driving.shutdown().await;
        for lease in self.kept.all() {
            let build = &lease.job.build;
            let handed = timeout(HAND_BACK, async {
                // First: whoever has it next starts anew, and two must not run side by side.
                self.janitor.sweep(build).await?;
                let at = self.beat.clock.now();
                self.kept.settle(&lease, Settlement::Again(at)).await
            });
            match handed.await {
                Ok(Ok(())) => tracing::info!(%build, "handed back"),
                Ok(Err(e)) => tracing::warn!(%build, error = ?e, "not handed back"),
                Err(_) => tracing::warn!(%build, "not handed back in time"),
            }
        }
    }
}

/// Drives builds, one after the other; a node that is not known any more enrols again.
async fn drive(worker: Worker, beat: Beat, until: CancelToken) -> Result<()> {
    loop {
        match worker.run(until.clone()).await {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let Ok(enrolled) = until.race(beat.enrol()).await else { return Ok(()) };
                enrolled?;
                // Not again and again, if it does not help.
                if until.race(sleep(Duration::from_secs(1))).await.is_err() {
                    return Ok(());
                }
            }
            Err(e) if !is_final(&e) => {
                // Such as a disk of the server that is full.
                tracing::warn!(error = ?e, "the queue is asked again");
                if until.race(sleep(WAIT_MAX)).await.is_err() {
                    return Ok(());
                }
            }
            ended => return ended,
        }
    }
}

/// Waits to be told to stop; an error if the server does not want us any more.
async fn watch(
    driving: &mut JoinSet<Result<()>>,
    beating: &mut tokio::task::JoinHandle<Result<bool>>,
    until: &CancelToken,
) -> Result<()> {
    let died = |e: tokio::task::JoinError| {
        Error::new(ErrorKind::Unexpected, "kiln-agent", "a part of the agent died").source(e)
    };
    loop {
        tokio::select! {
            _ = until.cancelled() => return Ok(()),
            ended = &mut *beating => return ended.map_err(died)?.map(drop),
            Some(ended) = driving.join_next() => ended.map_err(died)??,
        }
    }
}
