use crate::{
    client::RemoteClient,
    wire::{BeatAsk, BeatTold, EnrolAsk, NodesTold},
};
use async_trait::async_trait;
use kiln::{
    NodeId, Result, Timestamp,
    port::{Fleet, Node},
};
use reqwest::Method;

/// The nodes of a server.
#[derive(Clone, Debug)]
pub struct RemoteFleet(RemoteClient);

impl RemoteFleet {
    /// The nodes behind a client.
    pub fn new(client: RemoteClient) -> Self {
        Self(client)
    }

    /// As [`Fleet::beat`], and says whether the node is to take no more builds.
    ///
    /// A server of version 1.0 does not say it with the beat and is asked for its nodes.
    pub async fn beat_and_hear(&self, node: &NodeId, at: Timestamp) -> Result<bool> {
        let path = ["nodes", node.as_str(), "beat"];
        let ask = self.0.ask("Fleet::beat", Method::POST, &path);
        let told: BeatTold = ask.json(&BeatAsk { at }).told().await?;
        match told.drained {
            Some(drained) => Ok(drained),
            None => Ok(self.nodes().await?.iter().any(|n| n.id == *node && n.drained)),
        }
    }
}

#[async_trait]
impl Fleet for RemoteFleet {
    async fn enrol(&self, node: &Node) -> Result<()> {
        let ask = self.0.ask("Fleet::enrol", Method::PUT, &["nodes", node.id.as_str()]);
        ask.json(&EnrolAsk { node }).done().await
    }

    async fn beat(&self, node: &NodeId, at: Timestamp) -> Result<()> {
        let ask = self.0.ask("Fleet::beat", Method::POST, &["nodes", node.as_str(), "beat"]);
        ask.json(&BeatAsk { at }).done().await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let told: NodesTold = self.0.ask("Fleet::nodes", Method::GET, &["nodes"]).told().await?;
        Ok(told.nodes)
    }

    async fn remove(&self, node: &NodeId) -> Result<()> {
        self.0.ask("Fleet::remove", Method::DELETE, &["nodes", node.as_str()]).done().await
    }
}
