//! The fleet: one row a node, what it says of itself as JSON beside when it was last heard of.

use crate::{
    client::SqliteDb,
    error::{json, unreadable},
    news::Topic,
};
use async_trait::async_trait;
use kiln::{
    Error, ErrorKind, NodeId, Result, Timestamp,
    port::{Fleet, Node},
};
use rusqlite::params;

/// The nodes in a SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteFleet {
    db: SqliteDb,
}

impl SqliteFleet {
    pub(crate) fn new(db: SqliteDb) -> Self {
        Self { db }
    }
}

#[async_trait]
impl Fleet for SqliteFleet {
    async fn enrol(&self, node: &Node) -> Result<()> {
        const OP: &str = "Fleet::enrol";
        let (id, seen_at, text) = (node.id.clone(), node.seen_at, json(OP, node)?);
        self.db
            .write(OP, Topic::Quiet, move |c| {
                c.prepare_cached(
                    "INSERT OR REPLACE INTO node (id, seen_at, node) VALUES (?, ?, ?)",
                )?
                .execute(params![id.as_str(), seen_at.0, text])?;
                Ok(())
            })
            .await
    }

    async fn beat(&self, node: &NodeId, at: Timestamp) -> Result<()> {
        const OP: &str = "Fleet::beat";
        let id = node.clone();
        self.db
            .write(OP, Topic::Quiet, move |c| {
                // A beat that was late on its way says nothing new.
                let known = c
                    .prepare_cached("UPDATE node SET seen_at = max(seen_at, ?2) WHERE id = ?1")?
                    .execute(params![id.as_str(), at.0])?;
                if known == 0 {
                    return Err(Error::new(ErrorKind::NotFound, OP, "there is no such node")
                        .with("node", &id)
                        .hint("Enrol it again.")
                        .into());
                }
                Ok(())
            })
            .await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        const OP: &str = "Fleet::nodes";
        let rows: Vec<(u64, String)> = self
            .db
            .read(OP, |c| {
                let mut select = c.prepare_cached("SELECT seen_at, node FROM node ORDER BY id")?;
                let rows = select.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await?;
        let read = |(seen_at, text): (u64, String)| {
            let node: Node = serde_json::from_str(&text)
                .map_err(|e| unreadable(OP, "what a node said of itself cannot be read", e))?;
            Ok(Node { seen_at: Timestamp(seen_at), ..node })
        };
        rows.into_iter().map(read).collect()
    }

    async fn remove(&self, node: &NodeId) -> Result<()> {
        const OP: &str = "Fleet::remove";
        let id = node.clone();
        self.db
            .write(OP, Topic::Quiet, move |c| {
                c.prepare_cached("DELETE FROM node WHERE id = ?1")?.execute([id.as_str()])?;
                Ok(())
            })
            .await
    }
}
