//! The JSON of the API.

use crate::{access::Scope, schema, tokens::TokenInfo};
use kiln::{
    BuildId, Command, ErrorKind, ImageRef, Owner, Plan, Revision, SecretRef, Timestamp, Value,
    port::{BuildSummary, Node, Progress, StepEnd, Stream},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// The body of `POST /api/v1/builds`: one of a whole plan and the short forms, and what lists
/// and queue are to know of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// A plan, in its stored form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Plan>)]
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
    /// A pipeline that a file of the source describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// Labels, for lists to filter by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Of one owner's builds the highest goes first; 0 is usual.
    #[serde(default)]
    pub priority: i32,
}

/// Where source code comes from.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The repository.
    pub url: String,
    /// A branch, a tag or a commit; the default branch without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The name of the secret that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub credentials: Option<SecretRef>,
    /// Whether submodules are fetched too.
    #[serde(default)]
    pub submodules: bool,
}

/// A Dockerfile to build.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = BuildForm)]
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
    #[schema(value_type = Vec<String>)]
    pub tags: Vec<ImageRef>,
    /// Build arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Value>)]
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
    #[schema(value_type = Option<String>)]
    pub credentials: Option<SecretRef>,
}

/// A container to make an image of.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = CommitForm)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its id or name.
    pub container: String,
    /// The names of the image.
    #[schema(value_type = Vec<String>)]
    pub tags: Vec<ImageRef>,
    /// Whether the image is pushed under all its names.
    #[serde(default)]
    pub push: bool,
    /// The name of the secret that opens the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub credentials: Option<SecretRef>,
    /// Whether the container runs on while it is copied.
    #[serde(default)]
    pub without_pause: bool,
}

/// A command to run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RunForm)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The image of the box.
    #[schema(value_type = String, example = "busybox:latest")]
    pub image: ImageRef,
    /// Source code, mounted at `/src`, where the command runs then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The command.
    #[schema(value_type = schema::Command)]
    pub command: Command,
    /// How many milliseconds it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// A pipeline to run: what a file such as `wercker.yml` says.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PipelineForm)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Source code with the file.
    pub source: Source,
    /// Which kind of file it is.
    #[serde(default = "wercker")]
    pub planner: String,
    /// The directory of the source that has the file, or the file; the source itself without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is told beside the file. `docs/wercker.md` has every name; `version` is 1 without it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// How many milliseconds all of it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

fn wercker() -> String {
    "wercker".into()
}

/// The answer to a submission.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The build.
    #[schema(value_type = String)]
    pub build: BuildId,
    /// Whether this request made it; not if the same one, by its idempotency key, came before.
    pub made: bool,
}

/// The answer to an upload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Uploaded {
    /// What a plan names as the `url` of its source: `upload:<id>`.
    pub source: String,
    /// How many bytes were kept.
    pub bytes: u64,
    /// Their digest, `sha256:…`.
    pub digest: String,
}

/// Who calls, and what answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// Whose builds the caller makes and sees.
    #[schema(value_type = String)]
    pub owner: Owner,
    /// The name of its token; none where no token is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the token allows.
    pub scopes: BTreeSet<Scope>,
    /// The version of the server.
    pub version: String,
    /// The time of the server, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub time: Timestamp,
}

/// What a build keeps.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Artifacts {
    /// By name.
    pub artifacts: Vec<Artifact>,
}

/// A file that a build keeps.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// Its name, which may have slashes.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest, `sha256:…`.
    pub digest: String,
}

/// The nodes there are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Nodes {
    /// By name.
    #[schema(value_type = Vec<schema::Node>)]
    pub nodes: Vec<Node>,
}

/// The tokens there are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// By name.
    pub tokens: Vec<TokenInfo>,
}

/// A token that was just made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// What it is.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// Its text, which is kept nowhere.
    pub token: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A source to look at.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The source.
    pub source: Source,
}

/// What came of looking at a source: one of both.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// What would be fetched just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Revision>)]
    pub revision: Option<Revision>,
    /// Why nothing would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Trouble>,
}

/// Why a source cannot be fetched.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// The error's kind.
    #[schema(value_type = String)]
    pub code: ErrorKind,
    /// What happened, for people.
    pub detail: String,
    /// What to do about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether builds can be taken and kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether all parts are ready.
    pub ready: bool,
    /// For each part `ok`, or the kind of its error.
    pub parts: BTreeMap<String, String>,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// The builds, latest first.
    #[schema(value_type = Vec<schema::Summary>)]
    pub builds: Vec<BuildSummary>,
    /// What to ask for the next page with; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Where it stands.
    pub at: u64,
    /// Where the next one stands: what to read on after.
    pub next: u64,
    /// When it was written, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub time: Timestamp,
    /// The place of the step in its plan.
    pub step: u16,
    /// The attempt of that step.
    pub attempt: u8,
    /// What it says.
    #[serde(flatten)]
    #[schema(value_type = schema::Says)]
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
