use crate::{
    client::RemoteClient,
    wire::{ListAsk, SummariesTold, SummaryAsk},
};
use async_trait::async_trait;
use kiln::{
    BuildId, Result,
    port::{BuildFilter, BuildSummary, Index, Page},
};
use reqwest::Method;

/// The index of a server.
#[derive(Clone, Debug)]
pub struct RemoteIndex(RemoteClient);

impl RemoteIndex {
    /// The index behind a client.
    pub fn new(client: RemoteClient) -> Self {
        Self(client)
    }
}

#[async_trait]
impl Index for RemoteIndex {
    async fn put(&self, summary: &BuildSummary) -> Result<()> {
        let path = ["builds", summary.build.as_str(), "summary"];
        let ask = self.0.ask("Index::put", Method::PUT, &path).of(&summary.build);
        ask.json(&SummaryAsk { summary }).done().await
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        let ask = self.0.ask("Index::list", Method::POST, &["summaries"]);
        let told: SummariesTold = ask.json(&ListAsk { filter, page }).told().await?;
        Ok(told.summaries)
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let path = ["builds", build.as_str(), "summary"];
        self.0.ask("Index::forget", Method::DELETE, &path).of(build).done().await
    }
}
