//! The fleet: one row a node, what it says of itself as JSON beside when it was last heard of.

use crate::{
    client::PgDb,
    error::{json, stored, told, unreadable},
};
use async_trait::async_trait;
use kiln::{
    Error, ErrorKind, NodeId, Result, Timestamp,
    port::{Fleet, Node},
};

const ENROL: &str = "INSERT INTO node (id, seen_at, node) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, node = excluded.node";
/// A beat that was late on its way says nothing new.
const BEAT: &str = "UPDATE node SET seen_at = greatest(seen_at, $2) WHERE id = $1 RETURNING id";
const NODES: &str = "SELECT seen_at, node FROM node ORDER BY id";
const REMOVE: &str = "DELETE FROM node WHERE id = $1";

/// The nodes in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PgFleet {
    db: PgDb,
}

impl PgFleet {
    pub(crate) fn new(db: PgDb) -> Self {
        Self { db }
    }
}

#[async_trait]
impl Fleet for PgFleet {
    async fn enrol(&self, node: &Node) -> Result<()> {
        const OP: &str = "Fleet::enrol";
        let (id, text) = (node.id.to_string(), json(OP, node)?);
        let params: Vec<crate::lines::Param> =
            vec![Box::new(id.clone()), Box::new(stored(node.seen_at.0)), Box::new(text)];
        self.db.write(OP, &id, ENROL, params).await.map(drop)
    }

    async fn beat(&self, node: &NodeId, at: Timestamp) -> Result<()> {
        const OP: &str = "Fleet::beat";
        let id = node.to_string();
        let params: Vec<crate::lines::Param> = vec![Box::new(id.clone()), Box::new(stored(at.0))];
        if self.db.write(OP, &id, BEAT, params).await?.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, OP, "there is no such node")
                .with("node", node)
                .hint("Enrol it again."));
        }
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        const OP: &str = "Fleet::nodes";
        let rows = self.db.read(OP, NODES, &[]).await?;
        let read = |row: tokio_postgres::Row| {
            let node: Node = serde_json::from_str(row.get(1))
                .map_err(|e| unreadable(OP, "what a node said of itself cannot be read", e))?;
            Ok(Node { seen_at: Timestamp(told(row.get(0))), ..node })
        };
        rows.into_iter().map(read).collect()
    }

    async fn remove(&self, node: &NodeId) -> Result<()> {
        let id = node.to_string();
        self.db.write("Fleet::remove", &id, REMOVE, vec![Box::new(id.clone())]).await.map(drop)
    }
}
