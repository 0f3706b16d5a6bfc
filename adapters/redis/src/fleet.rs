//! The fleet: one hash with what the nodes say of themselves (JSON), one with when they were seen.

use crate::{
    client::RedisDb,
    error::{json, unreadable},
    script,
};
use async_trait::async_trait;
use kiln::{
    Error, ErrorKind, NodeId, Result, Timestamp,
    port::{Fleet, Node},
};
use std::collections::{BTreeMap, HashMap};

/// The nodes in Redis.
#[derive(Clone, Debug)]
pub struct RedisFleet {
    db: RedisDb,
}

impl RedisFleet {
    pub(crate) fn new(db: RedisDb) -> Self {
        Self { db }
    }
}

#[async_trait]
impl Fleet for RedisFleet {
    async fn enrol(&self, node: &Node) -> Result<()> {
        const OP: &str = "Fleet::enrol";
        let mut call = self.db.call(&script::ENROL);
        call.arg(node.id.as_str()).arg(json(OP, node)?).arg(node.seen_at.0);
        self.db.link().run(OP, &call).await
    }

    async fn beat(&self, node: &NodeId, at: Timestamp) -> Result<()> {
        const OP: &str = "Fleet::beat";
        let mut call = self.db.call(&script::BEAT);
        call.arg(node.as_str()).arg(at.0);
        if self.db.link().run::<bool>(OP, &call).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, OP, "there is no such node")
            .with("node", node)
            .hint("Enrol it again."))
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        const OP: &str = "Fleet::nodes";
        let call = self.db.call(&script::NODES);
        type Both = (BTreeMap<String, String>, HashMap<String, u64>);
        let (said, seen): Both = self.db.link().run(OP, &call).await?;
        let read = |(name, text): (String, String)| {
            let node: Node = serde_json::from_str(&text)
                .map_err(|e| unreadable(OP, "what a node said of itself cannot be read", e))?;
            let seen_at = seen.get(&name).map_or(node.seen_at, |at| Timestamp(*at));
            Ok(Node { seen_at, ..node })
        };
        said.into_iter().map(read).collect()
    }

    async fn remove(&self, node: &NodeId) -> Result<()> {
        let mut call = self.db.call(&script::DISMISS);
        call.arg(node.as_str());
        self.db.link().run("Fleet::remove", &call).await
    }
}
