//! What is said in JSON, beside the stored forms of core's own types. Fields that are not known are
//! passed over, and new ones are optional: the other side may be a minor version older or newer.

use kiln::{
    Artifact, BuildId, Owner, Recorded, SecretRef, Seq, Timestamp,
    port::{BuildFilter, BuildSummary, Entry, Job, Lease, Node, Offset, Page, Settlement},
};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
pub(crate) struct LeaseAsk<'a> {
    pub(crate) node: &'a Node,
    pub(crate) ttl_ms: u64,
    pub(crate) patience_ms: u64,
}

#[derive(Deserialize)]
pub(crate) struct LeaseTold {
    pub(crate) lease: Option<Lease>,
}

#[derive(Serialize)]
pub(crate) struct RenewAsk<'a> {
    pub(crate) lease: &'a Lease,
    pub(crate) ttl_ms: u64,
}

#[derive(Serialize)]
pub(crate) struct SettleAsk<'a> {
    pub(crate) lease: &'a Lease,
    pub(crate) how: Settlement,
}

#[derive(Serialize)]
pub(crate) struct PushAsk {
    pub(crate) job: Job,
}

#[derive(Deserialize)]
pub(crate) struct RemoveTold {
    pub(crate) removed: bool,
}

#[derive(Serialize)]
pub(crate) struct EnrolAsk<'a> {
    pub(crate) node: &'a Node,
}

#[derive(Serialize)]
pub(crate) struct BeatAsk {
    pub(crate) at: Timestamp,
}

#[derive(Deserialize)]
pub(crate) struct BeatTold {
    /// Since 1.1.
    #[serde(default)]
    pub(crate) drained: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct NodesTold {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Serialize)]
pub(crate) struct AppendAsk<'a> {
    pub(crate) after: Seq,
    pub(crate) entries: &'a [Entry],
}

#[derive(Deserialize)]
pub(crate) struct SeqTold {
    pub(crate) end: Seq,
}

#[derive(Deserialize)]
pub(crate) struct EventsTold {
    pub(crate) events: Vec<Recorded>,
}

#[derive(Deserialize)]
pub(crate) struct WaitTold {
    pub(crate) news: bool,
}

#[derive(Deserialize)]
pub(crate) struct BuildsTold {
    pub(crate) builds: Vec<BuildId>,
}

#[derive(Deserialize)]
pub(crate) struct OffsetTold {
    pub(crate) end: Offset,
}

#[derive(Serialize)]
pub(crate) struct SummaryAsk<'a> {
    pub(crate) summary: &'a BuildSummary,
}

#[derive(Serialize)]
pub(crate) struct ListAsk<'a> {
    pub(crate) filter: &'a BuildFilter,
    pub(crate) page: &'a Page,
}

#[derive(Deserialize)]
pub(crate) struct SummariesTold {
    pub(crate) summaries: Vec<BuildSummary>,
}

#[derive(Deserialize)]
pub(crate) struct ArtifactTold {
    pub(crate) artifact: Artifact,
}

#[derive(Deserialize)]
pub(crate) struct ArtifactsTold {
    pub(crate) artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
pub(crate) struct CachesTold {
    pub(crate) caches: Vec<BuildId>,
}

#[derive(Serialize)]
pub(crate) struct RevealAsk<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) secret: &'a SecretRef,
    pub(crate) leases: Vec<Shown>,
}

#[derive(Serialize)]
pub(crate) struct Shown {
    pub(crate) build: BuildId,
    pub(crate) lease: String,
}
