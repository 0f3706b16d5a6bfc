//! The JSON of the API.

use kiln::{
    BuildId, Command, ImageRef, Plan, SecretRef, Timestamp, Value,
    port::{BuildSummary, Progress, StepEnd, Stream},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of `POST /api/v1/builds`: one of a whole plan and the short forms, and what lists
/// and queue are to know of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// A plan, in its stored form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// A Dockerfile, built and pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// A container, made an image and pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// A command in a box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Labels, for lists to filter by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Of one owner's builds the highest goes first; 0 is usual.
    #[serde(default)]
    pub priority: i32,
}

/// Where source code comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The repository.
    pub url: String,
    /// A branch, a tag or a commit; the default branch without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The name of the secret that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
    /// Whether submodules are fetched too.
    #[serde(default)]
    pub submodules: bool,
}

/// A Dockerfile to build.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The context; nothing without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The text of the Dockerfile, in place of a file of the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The Dockerfile's path in the context; `Dockerfile` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The names of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<ImageRef>,
    /// Build arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Value>,
    /// Labels of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether every step runs, cached or not.
    #[serde(default)]
    pub no_cache: bool,
    /// Whether the image is pushed under all its names.
    #[serde(default)]
    pub push: bool,
    /// The name of the secret that opens the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
}

/// A container to make an image of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its id or name.
    pub container: String,
    /// The names of the image.
    pub tags: Vec<ImageRef>,
    /// Whether the image is pushed under all its names.
    #[serde(default)]
    pub push: bool,
    /// The name of the secret that opens the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
    /// Whether the container runs on while it is copied.
    #[serde(default)]
    pub without_pause: bool,
}

/// A command to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The image of the box.
    pub image: ImageRef,
    /// Source code, mounted at `/src`, where the command runs then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The command.
    pub command: Command,
    /// How many milliseconds it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The answer to a submission.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submitted {
    /// The build.
    pub build: BuildId,
    /// Whether this request made it; not if the same one, by its idempotency key, came before.
    pub made: bool,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The builds, latest first.
    pub builds: Vec<BuildSummary>,
    /// What to ask for the next page with; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where it stands.
    pub at: u64,
    /// Where the next one stands: what to read on after.
    pub next: u64,
    /// When it was written, in milliseconds since 1970.
    pub time: Timestamp,
    /// The place of the step in its plan.
    pub step: u16,
    /// The attempt of that step.
    pub attempt: u8,
    /// What it says.
    #[serde(flatten)]
    pub says: Says,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields of a log record, as the core documents them")]
pub enum Says {
    Started,
    /// Output. `text` where it is UTF-8, else `base64`.
    Output {
        stream: Stream,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    Progress(Progress),
    Gap {
        bytes: u64,
        why: String,
    },
    Ended {
        how: StepEnd,
    },
}
