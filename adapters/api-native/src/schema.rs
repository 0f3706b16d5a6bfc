//! What the OpenAPI document says of core's types, which know nothing of it. The tests hold every
//! answer of the API against the document, so what is said here is what is sent.

#![expect(dead_code, reason = "the document is made of the types, and nobody makes a value")]

use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type},
    },
};

/// An object of which only an example is given.
fn open(description: &str, required: &[&str], example: serde_json::Value) -> RefOr<Schema> {
    let object = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some(description))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .examples([example]);
    let all = required.iter().fold(object, |object, name| object.required(*name));
    RefOr::T(Schema::Object(all.build()))
}

/// A whole plan, in its stored form.
pub(crate) struct Plan;

impl PartialSchema for Plan {
    fn schema() -> RefOr<Schema> {
        let step = json!({
            "name": "build",
            "op": "build",
            "recipe": {"kind": "inline", "text": "FROM scratch"},
            "tags": ["app:1"],
            "attempts": {"max": 2, "backoff_ms": 500},
        });
        open(
            "A plan, in its stored form: docs/formats.md and core/src/plan.rs have every field",
            &["version", "steps"],
            json!({"version": 1, "steps": [step]}),
        )
    }
}

impl ToSchema for Plan {}

/// An event of a journal.
pub(crate) struct Recorded;

impl PartialSchema for Recorded {
    fn schema() -> RefOr<Schema> {
        open(
            "An event: docs/formats.md and core/src/event.rs have every kind",
            &["seq", "at", "event"],
            json!({"seq": 3, "at": 1_700_000_000_000_u64, "event": "step_started", "step": 0, "attempt": 1}),
        )
    }
}

impl ToSchema for Recorded {}

/// A text, or a secret by its name.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Value {
    Text(String),
    Secret { secret: String },
}

/// A command.
#[derive(Serialize, ToSchema)]
pub(crate) struct Command {
    /// The program and its arguments.
    argv: Vec<String>,
    /// Variables on top of the box's own.
    #[serde(default)]
    env: BTreeMap<String, Value>,
    /// The working directory; the box's own without it.
    cwd: Option<String>,
    /// The user; the box's own without it.
    user: Option<String>,
}

/// Where a build stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Queued,
    Running,
    Stopping,
    Finished,
}

/// How a build ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// succeeded, failed, errored, timed_out or cancelled.
    outcome: String,
    /// The first step that failed.
    step: Option<u16>,
}

/// What lists show of a build.
#[derive(Serialize, ToSchema)]
#[schema(as = BuildSummary)]
pub(crate) struct Summary {
    build: String,
    /// The place of the journal this tells of.
    seq: u64,
    owner: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    phase: Phase,
    outcome: Option<Outcome>,
    /// Milliseconds since 1970.
    accepted_at: u64,
    finished_at: Option<u64>,
    /// How many steps it has, and how many are over.
    steps: u32,
    steps_over: u32,
}

/// Who did something.
#[derive(Serialize, ToSchema)]
pub(crate) struct Actor {
    owner: String,
    /// The name of a token or a hook.
    name: Option<String>,
}

/// A build with its steps.
#[derive(Serialize, ToSchema)]
pub(crate) struct Build {
    #[serde(flatten)]
    summary: Summary,
    /// Who asked for it.
    by: Option<Actor>,
    started_at: Option<u64>,
    /// The node that drives it, or drove it last.
    node: Option<String>,
    /// How often a driver took it over from another.
    takeovers: u32,
    stop: Option<Stop>,
    /// In the order of the plan.
    step_views: Vec<Step>,
}

/// Why a build is to stop.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stop {
    /// request or timeout.
    cause: String,
    reason: String,
    at: u64,
    by: Option<Actor>,
}

/// A step.
#[derive(Serialize, ToSchema)]
pub(crate) struct Step {
    /// Its place in the plan, from 0.
    id: u16,
    name: String,
    /// What it does, in a word.
    verb: String,
    /// waiting, running, succeeded, failed or skipped.
    status: String,
    attempts: u8,
    started_at: Option<u64>,
    ended_at: Option<u64>,
    /// What it is pinned to.
    pin: Option<Revision>,
    /// What it made: an image, a digest, a revision, a report, an artifact, notes.
    output: Option<serde_json::Value>,
    /// The build that did it, if this one need not.
    reused_of: Option<String>,
    /// Why its last attempt failed.
    failure: Option<Failure>,
}

/// An exact state of a source.
#[derive(Serialize, ToSchema)]
pub(crate) struct Revision {
    /// Such as a commit id.
    id: String,
    /// The moving name it was resolved from.
    reference: Option<String>,
}

/// Why an attempt failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Failure {
    /// Whose fault: user, infra, timeout, cancelled or lost.
    class: String,
    /// The kind of error, such as `not_found`.
    kind: String,
    message: String,
    hint: Option<String>,
    exit_code: Option<i64>,
}

/// A machine that runs builds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Node {
    id: String,
    labels: BTreeMap<String, String>,
    /// How many builds it runs side by side.
    slots: u16,
    resources: Resources,
    /// Whether it takes no new builds.
    drained: bool,
    /// When it was last heard of, in milliseconds since 1970.
    seen_at: u64,
}

/// What a machine has; 0 is no limit.
#[derive(Serialize, ToSchema)]
pub(crate) struct Resources {
    /// Thousandths of one processor.
    cpu_millis: u32,
    memory_bytes: u64,
}

/// Where output was printed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stream {
    Stdout,
    Stderr,
    System,
}

/// How an attempt ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepEnd {
    Succeeded,
    Failed,
}

/// What a record of a log says.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Says {
    /// The attempt begins.
    Started,
    /// Output: `text` where it is UTF-8, else `base64`.
    Output { stream: Stream, text: Option<String>, base64: Option<String> },
    /// How far a transfer is.
    Progress {
        /// What is moved.
        item: String,
        /// What is done with it.
        action: String,
        done: u64,
        total: Option<u64>,
        /// bytes or objects.
        unit: String,
    },
    /// Output that could not be kept.
    Gap { bytes: u64, why: String },
    /// The attempt is over.
    Ended { how: StepEnd },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example<T: PartialSchema>() -> serde_json::Value {
        match T::schema() {
            RefOr::T(Schema::Object(object)) => object.examples[0].clone(),
            _ => panic!("no open object"),
        }
    }

    #[test]
    fn examples_are_what_core_reads() {
        serde_json::from_value::<kiln::Plan>(example::<Plan>()).unwrap();
        serde_json::from_value::<kiln::Recorded>(example::<Recorded>()).unwrap();
    }
}
