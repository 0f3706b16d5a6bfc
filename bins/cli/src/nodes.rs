//! The nodes of a server: `nodes`.

use crate::{
    args::{Exit, NodeArgs, NodeCommand, now},
    print,
    remote::Server,
    screen::{Look, Paint},
    text,
};
use kiln::{Result, port::Node};
use reqwest::Method;
use serde::Deserialize;

const OP: &str = "kiln nodes";

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

pub(crate) async fn nodes(server: &Server, args: NodeArgs) -> Result<Exit> {
    match args.command {
        None | Some(NodeCommand::List) => list(server, args.json).await?,
        Some(NodeCommand::Drain { node }) => drain(server, &node, true, args.json).await?,
        Some(NodeCommand::Undrain { node }) => drain(server, &node, false, args.json).await?,
        Some(NodeCommand::Remove { node }) => {
            let request = server.client.request(Method::DELETE, &["nodes", &node]);
            server.client.send(OP, request).await?;
            match args.json {
                true => print::json("removed", serde_json::json!({ "node": node })),
                false => print::note(format!("node {node} is removed")),
            }
        }
    }
    Ok(Exit::Fine)
}

/// All nodes, by name. `Denied` to whoever is no admin.
pub(crate) async fn all(server: &Server) -> Result<Vec<Node>> {
    Ok(server.client.get::<Nodes>(OP, &["nodes"], &[]).await?.nodes)
}

async fn drain(server: &Server, node: &str, drained: bool, json: bool) -> Result<()> {
    let body = serde_json::json!({ "drained": drained });
    let answer = server.client.post(OP, &["nodes", node, "drain"], &body, None).await?;
    let now: Node = server.client.json(OP, answer).await?;
    match (json, now.drained) {
        (true, _) => print::json("node", &now),
        (false, true) => print::note(format!("node {node} takes no new builds")),
        (false, false) => print::note(format!("node {node} takes builds")),
    }
    Ok(())
}

async fn list(server: &Server, json: bool) -> Result<()> {
    let nodes = all(server).await?;
    if json {
        nodes.iter().for_each(|node| print::json("node", node));
        return Ok(());
    }
    if nodes.is_empty() {
        print::note("the server has no nodes");
        return Ok(());
    }
    let look = Look::of(&std::io::stdout());
    let width = nodes.iter().map(|node| node.id.as_str().len()).max().unwrap_or(0).max(4);
    let head = format!("{:<width$}  {:<8}  {:>5}  {:<8}  LABELS", "NODE", "TAKES", "SLOTS", "SEEN");
    print::result(look.paint(Paint::Dim, &head));
    for node in &nodes {
        let (word, paint) = match node.drained {
            true => ("drained", Paint::Busy),
            false => ("builds", Paint::Good),
        };
        let labels: Vec<_> =
            node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let line = format!(
            "{:<width$}  {}  {:>5}  {:<8}  {}",
            node.id.as_str(),
            look.paint(paint, &format!("{word:<8}")),
            node.slots,
            text::ago(now().since(node.seen_at)),
            text::plain(&labels.join(" ")),
        );
        print::result(line.trim_end());
    }
    Ok(())
}
