//! The body of a webhook, version 1. `tests/golden/notify` has one of each kind of event.

use kiln::{
    Digest, Event, Failure, FailureClass, ImageRef, Outcome, Output, Phase, Seq, StepId, Timestamp,
    port::{BuildSummary, Notice},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a receiver gets. Fields are added, never changed or taken away.
#[derive(Debug, Serialize)]
pub(crate) struct Body<'a> {
    version: u8,
    /// The same each time this is told.
    id: &'a str,
    /// `build.` and the kind of the event, as journals name it.
    #[serde(rename = "type")]
    kind: String,
    /// The place in the journal of the build: a higher one is newer.
    seq: Seq,
    build: Build<'a>,
    #[serde(flatten)]
    detail: Detail<'a>,
}

#[derive(Debug, Serialize)]
struct Build<'a> {
    id: &'a str,
    owner: &'a str,
    labels: &'a BTreeMap<String, String>,
    phase: Phase,
    outcome: Option<&'static str>,
    /// Milliseconds since 1970, as all times.
    accepted_at: Timestamp,
    finished_at: Option<Timestamp>,
    steps: u32,
    steps_over: u32,
}

/// What is told of the event itself; only what it has.
#[derive(Debug, Default, Serialize)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Told<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Image<'a> {
    id: &'a str,
    tags: &'a [ImageRef],
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    class: FailureClass,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
}

impl<'a> From<&'a BuildSummary> for Build<'a> {
    fn from(build: &'a BuildSummary) -> Self {
        Self {
            id: build.build.as_str(),
            owner: build.owner.as_str(),
            labels: &build.labels,
            phase: build.phase,
            outcome: build.outcome.as_ref().map(Outcome::word),
            accepted_at: build.accepted_at,
            finished_at: build.finished_at,
            steps: build.steps,
            steps_over: build.steps_over,
        }
    }
}

impl<'a> From<&'a Failure> for Told<'a> {
    fn from(failure: &'a Failure) -> Self {
        let Failure { class, message, exit_code, .. } = failure;
        Self { class: *class, message, exit_code: *exit_code }
    }
}

/// What a step made.
fn made<'a>(output: &'a Output, detail: Detail<'a>) -> Detail<'a> {
    Detail {
        revision: output.revision.as_ref().map(|r| r.id.as_str()),
        image: output.image.as_ref().map(|i| Image { id: &i.id, tags: &i.tags }),
        digest: output.digest.as_ref(),
        ..detail
    }
}

fn detail(event: &Event) -> Detail<'_> {
    let of = |step: &StepId, attempt: Option<u8>| Detail {
        step: Some(*step),
        attempt,
        ..Detail::default()
    };
    match event {
        Event::Adopted { node, .. } => Detail { node: Some(node.as_str()), ..Detail::default() },
        Event::StepStarted { step, attempt } | Event::StepTimedOut { step, attempt } => {
            of(step, Some(*attempt))
        }
        Event::StepPinned { step, attempt, revision } => {
            Detail { revision: Some(&revision.id), ..of(step, Some(*attempt)) }
        }
        Event::StepReused { step, output, .. } => made(output, of(step, None)),
        Event::StepSucceeded { step, attempt, output } => made(output, of(step, Some(*attempt))),
        Event::StepFailed { step, attempt, failure } => {
            Detail { failure: Some(failure.into()), ..of(step, Some(*attempt)) }
        }
        Event::StepDue { step } | Event::StepSkipped { step } => of(step, None),
        Event::CancelRequested { reason, .. } => {
            Detail { reason: Some(reason), ..Detail::default() }
        }
        // Which step of several it was that decided.
        Event::Finished { outcome: Outcome::Failed { step } | Outcome::Errored { step } } => {
            of(step, None)
        }
        _ => Detail::default(),
    }
}

impl<'a> Body<'a> {
    pub(crate) fn of(id: &'a str, kind: &str, notice: &'a Notice) -> Self {
        Self {
            version: 1,
            id,
            kind: format!("build.{kind}"),
            seq: notice.seq,
            build: (&notice.build).into(),
            detail: detail(&notice.event),
        }
    }
}
