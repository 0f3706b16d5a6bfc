use crate::{
    ask::part_of,
    client::RemoteClient,
    wire::{LeaseAsk, LeaseTold, PushAsk, RemoveTold, RenewAsk, SettleAsk},
};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{Job, Lease, Node, Queue, Settlement},
};
use reqwest::Method;
use std::time::{Duration, Instant};

/// The queue of a server.
#[derive(Clone, Debug)]
pub struct RemoteQueue(RemoteClient);

impl RemoteQueue {
    /// The queue behind a client.
    pub fn new(client: RemoteClient) -> Self {
        Self(client)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Queue for RemoteQueue {
    async fn push(&self, job: Job) -> Result<()> {
        let ask = self.0.ask("Queue::push", Method::POST, &["jobs"]);
        ask.json(&PushAsk { job }).done().await
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let patience_ms = part_of(left);
            let ask = self.0.ask("Queue::lease", Method::POST, &["lease"]).patience(patience_ms);
            let body = LeaseAsk { node, ttl_ms: ms(ttl), patience_ms };
            let told: LeaseTold = ask.json(&body).told().await?;
            if let Some(lease) = &told.lease {
                self.0.hold(lease, Some(&node.id), ttl);
            }
            if told.lease.is_some() || u128::from(patience_ms) >= left.as_millis() {
                return Ok(told.lease);
            }
        }
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        const OP: &str = "Queue::renew";
        let ask = self.0.ask(OP, Method::POST, &["renew"]).with(lease);
        let told: Result<LeaseTold> = ask.json(&RenewAsk { lease, ttl_ms: ms(ttl) }).told().await;
        match &told {
            // Perhaps it was given to a process before this one.
            Ok(_) if self.0.shown(&lease.job.build).is_none() => self.0.hold(lease, None, ttl),
            Err(e) if e.kind() == ErrorKind::Conflict => self.0.let_go(lease),
            _ => {}
        }
        told?.lease.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, OP, "the server renewed a lease and did not say it")
        })
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        let ask = self.0.ask("Queue::settle", Method::POST, &["settle"]).with(lease);
        let settled = ask.json(&SettleAsk { lease, how }).done().await;
        match &settled {
            Err(e) if e.kind() != ErrorKind::Conflict => {}
            _ => self.0.let_go(lease),
        }
        settled
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        let ask = self.0.ask("Queue::remove", Method::DELETE, &["jobs", build.as_str()]);
        let told: RemoveTold = ask.told().await?;
        Ok(told.removed)
    }
}
