//! What is said in JSON, beside the stored forms of core's own types. Fields that are not known are
//! passed over, and new ones are optional: the other side may be a minor version older or newer.

use kiln::{
    Artifact, BuildId, Owner, Recorded, SecretRef, Seq, Timestamp,
    port::{BuildFilter, BuildSummary, Entry, Job, Lease, Node, Offset, Page, Settlement},
};
use serde::{Deserialize, Serialize};

/// Asks for a build to drive.
#[derive(Debug, Deserialize)]
pub(crate) struct LeaseAsk {
    pub(crate) node: Node,
    pub(crate) ttl_ms: u64,
    pub(crate) patience_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct LeaseTold {
    /// None if there was nothing before patience was over.
    pub(crate) lease: Option<Lease>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RenewAsk {
    pub(crate) lease: Lease,
    pub(crate) ttl_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SettleAsk {
    pub(crate) lease: Lease,
    pub(crate) how: Settlement,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PushAsk {
    pub(crate) job: Job,
}

#[derive(Debug, Serialize)]
pub(crate) struct RemoveTold {
    pub(crate) removed: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EnrolAsk {
    pub(crate) node: Node,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BeatAsk {
    pub(crate) at: Timestamp,
}

#[derive(Debug, Serialize)]
pub(crate) struct BeatTold {
    /// Whether the node is to take no more builds. Since 1.1.
    pub(crate) drained: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct NodesTold {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AppendAsk {
    pub(crate) after: Seq,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SeqTold {
    pub(crate) end: Seq,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LoadAsk {
    #[serde(default)]
    pub(crate) after: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventsTold {
    pub(crate) events: Vec<Recorded>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WaitAsk {
    pub(crate) after: u64,
    pub(crate) patience_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct WaitTold {
    pub(crate) news: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct BuildsTold {
    pub(crate) builds: Vec<BuildId>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WriteAsk {
    pub(crate) at: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReadAsk {
    pub(crate) from: u64,
    pub(crate) bytes_max: u64,
    pub(crate) patience_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct OffsetTold {
    pub(crate) end: Offset,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SummaryAsk {
    pub(crate) summary: BuildSummary,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListAsk {
    pub(crate) filter: BuildFilter,
    pub(crate) page: Page,
}

#[derive(Debug, Serialize)]
pub(crate) struct SummariesTold {
    pub(crate) summaries: Vec<BuildSummary>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ArtifactAsk {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) of: ForAsk,
}

/// Asks for the artifacts of an upload or of a cache.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ForAsk {
    /// The leased build whose plan names the upload or the cache; none for the artifacts of a leased
    /// build.
    #[serde(default, rename = "for")]
    pub(crate) build: Option<BuildId>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ArtifactTold {
    pub(crate) artifact: Artifact,
}

#[derive(Debug, Serialize)]
pub(crate) struct ArtifactsTold {
    pub(crate) artifacts: Vec<Artifact>,
}

#[derive(Debug, Serialize)]
pub(crate) struct CachesTold {
    pub(crate) caches: Vec<BuildId>,
}

/// Asks for a secret, for one of the builds that are shown.
#[derive(Debug, Deserialize)]
pub(crate) struct RevealAsk {
    pub(crate) owner: Owner,
    pub(crate) secret: SecretRef,
    #[serde(default)]
    pub(crate) leases: Vec<Shown>,
}

/// A build and the lease of it, written as in the header.
#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    pub(crate) build: BuildId,
    pub(crate) lease: String,
}
