use crate::{
    ask::part_of,
    client::RemoteClient,
    wire::{AppendAsk, BuildsTold, EventsTold, SeqTold, WaitTold},
};
use async_trait::async_trait;
use kiln::{
    BuildId, Recorded, Result, Seq,
    port::{Entry, Store},
};
use reqwest::Method;
use std::time::{Duration, Instant};

/// The journals of a server, of builds that are leased to this process.
#[derive(Clone, Debug)]
pub struct RemoteStore(RemoteClient);

impl RemoteStore {
    /// The journals behind a client.
    pub fn new(client: RemoteClient) -> Self {
        Self(client)
    }
}

#[async_trait]
impl Store for RemoteStore {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        let path = ["builds", build.as_str(), "journal"];
        let ask = self.0.ask("Store::append", Method::POST, &path).of(build);
        let told: SeqTold = ask.json(&AppendAsk { after, entries }).told().await?;
        Ok(told.end)
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        let path = ["builds", build.as_str(), "journal"];
        let ask = self.0.ask("Store::load", Method::GET, &path).of(build);
        let told: EventsTold = ask.query(&[("after", after.0)]).told().await?;
        Ok(told.events)
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        let path = ["builds", build.as_str(), "journal", "wait"];
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let ms = part_of(left);
            let ask = self.0.ask("Store::wait", Method::GET, &path).of(build).patience(ms);
            let told: WaitTold =
                ask.query(&[("after", after.0), ("patience_ms", ms)]).told().await?;
            if told.news || u128::from(ms) >= left.as_millis() {
                return Ok(told.news);
            }
        }
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        let told: BuildsTold =
            self.0.ask("Store::unfinished", Method::GET, &["unfinished"]).told().await?;
        Ok(told.builds)
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let path = ["builds", build.as_str(), "journal"];
        self.0.ask("Store::forget", Method::DELETE, &path).of(build).done().await
    }
}
