use crate::{NodeId, Resources, Result, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Debug};

/// A machine that can run builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What placements can ask for.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How many builds it runs side by side.
    pub slots: u16,
    /// What it has in all.
    pub resources: Resources,
    /// Whether it takes no new builds.
    #[serde(default)]
    pub drained: bool,
    /// When it was last heard of.
    pub seen_at: Timestamp,
}

/// Knows the nodes.
#[async_trait]
pub trait Fleet: Debug + Send + Sync + 'static {
    /// Makes a node known, or replaces what was known of it.
    async fn enrol(&self, node: &Node) -> Result<()>;

    /// Notes that a node is there; `NotFound` if it was never enrolled, or was removed.
    async fn beat(&self, node: &NodeId, at: Timestamp) -> Result<()>;

    /// All nodes, by name.
    async fn nodes(&self) -> Result<Vec<Node>>;

    /// Forgets a node; one nobody knows too.
    async fn remove(&self, node: &NodeId) -> Result<()>;
}
