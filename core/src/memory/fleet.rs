use super::lock;
use crate::{
    Error, ErrorKind, NodeId, Result, Timestamp,
    port::{Fleet, Node},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Mutex};

/// Nodes in memory, known to one process. Gone with it.
#[derive(Debug, Default)]
pub struct MemoryFleet(Mutex<BTreeMap<NodeId, Node>>);

#[async_trait]
impl Fleet for MemoryFleet {
    async fn enrol(&self, node: &Node) -> Result<()> {
        lock(&self.0).insert(node.id.clone(), node.clone());
        Ok(())
    }

    async fn beat(&self, node: &NodeId, at: Timestamp) -> Result<()> {
        let mut nodes = lock(&self.0);
        let known = nodes.get_mut(node).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "Fleet::beat", "there is no such node")
                .with("node", node)
                .hint("Enrol it again.")
        })?;
        // A beat that was late on its way says nothing new.
        known.seen_at = known.seen_at.max(at);
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        Ok(lock(&self.0).values().cloned().collect())
    }

    async fn remove(&self, node: &NodeId) -> Result<()> {
        lock(&self.0).remove(node);
        Ok(())
    }
}
