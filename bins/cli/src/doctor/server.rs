//! Whether a server is there, takes the token, and is ready to build.

use super::finding::Finding;
use crate::{
    args::now,
    nodes,
    remote::{Server, Whoami},
    text,
};
use kiln::{ErrorKind, Timestamp, port::Node};
use std::time::Duration;

const OP: &str = "kiln doctor";
/// How far the two clocks may be apart: logs and lists show the server's times.
const APART_MS_MAX: u64 = 60_000;
/// How long a node may be silent; it gives a sign of life every few seconds.
const SEEN_MAX: Duration = Duration::from_secs(120);

/// Looks at everything, as far as it can be reached.
pub(super) async fn look(server: &Server) -> Vec<Finding> {
    let mut findings = vec![reached(server).await];
    if findings.iter().all(Finding::is_problem) {
        return findings;
    }
    findings.push(ready(server).await);
    match server.whoami().await {
        Ok(who) => {
            findings.push(Finding::fine("token", who.says()));
            findings.push(version(&who));
            findings.extend(who.time.map(clock));
            findings.extend(nodes(server).await);
        }
        Err(e) => findings.push(Finding::error("token", &e)),
    }
    findings
}

async fn reached(server: &Server) -> Finding {
    match server.client.look(OP, "healthz").await {
        Ok(_) => Finding::fine("server", server.client.address().name()),
        Err(e) => Finding::error("server", &e),
    }
}

async fn ready(server: &Server) -> Finding {
    const WHAT: &str = "builds";
    match server.client.look(OP, "readyz").await {
        Ok(_) => Finding::fine(WHAT, "the server takes them"),
        Err(e) if e.kind() == ErrorKind::Unavailable => {
            Finding::problem(WHAT, e.to_string(), "Ask whoever runs the server.")
        }
        Err(e) => Finding::error(WHAT, &e),
    }
}

fn version(who: &Whoami) -> Finding {
    const WHAT: &str = "version";
    let there = who.version.as_deref().unwrap_or("not told");
    match who.skew() {
        Some(skew) => Finding::warning(WHAT, skew, "Bring the older one up to date."),
        None => Finding::fine(WHAT, format!("{there}, and here {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn clock(there: Timestamp) -> Finding {
    const WHAT: &str = "clock";
    let here = now();
    if here.0.abs_diff(there.0) <= APART_MS_MAX {
        return Finding::fine(WHAT, "the server has the same time");
    }
    let found = format!("it says {} here and {} there", text::moment(here), text::moment(there));
    Finding::warning(WHAT, found, "Set both, for example with `timedatectl set-ntp true`.")
}

/// Whether anybody drives builds; only an admin may know.
async fn nodes(server: &Server) -> Option<Finding> {
    const WHAT: &str = "nodes";
    const REMEDY: &str =
        "`kiln nodes` lists them; `kiln nodes undrain` lets one take builds again.";
    let nodes = match nodes::all(server).await {
        Ok(nodes) => nodes,
        Err(e) if e.kind() == ErrorKind::Denied => return None,
        Err(e) => return Some(Finding::error(WHAT, &e)),
    };
    let takes = |node: &&Node| !node.drained && now().since(node.seen_at) < SEEN_MAX;
    let (taking, all) = (nodes.iter().filter(takes).count(), nodes.len());
    let found = format!("{taking} of {all} take builds");
    Some(match taking {
        0 => Finding::problem(WHAT, found, REMEDY),
        n if n < all => Finding::warning(WHAT, found, REMEDY),
        _ => Finding::fine(WHAT, found),
    })
}
