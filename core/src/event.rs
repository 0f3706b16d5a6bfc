//! The journal of a build. The stored form of these types is a contract: see `tests/golden`.

use crate::{
    BuildId, DriverId, ErrorKind, NodeId, Owner, Seq, StepId, Timestamp,
    image::{Digest, ImageRef},
    plan::{Plan, Revision, Severity},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One fact in the life of a build. A journal begins with `Accepted` and ends with `Finished`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The build exists.
    Accepted {
        /// What it will do.
        plan: Plan,
        /// Whose it is.
        owner: Owner,
        /// What lists can be filtered by.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// Who asked for it, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// A driver took the build; what ran under another driver goes on only if it is kept.
    Adopted {
        /// The driver.
        driver: DriverId,
        /// Where it runs.
        node: NodeId,
        /// Running steps whose effect the runtime still has.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<StepId>,
    },
    /// A step need not run: another build of the same plan did it. Comes before any driver.
    StepReused {
        /// The step.
        step: StepId,
        /// That build.
        of: BuildId,
        /// What the step made there.
        output: Box<Output>,
        /// Where the image is, if it made one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
    },
    /// A step is about to be performed. Written before the effect.
    StepStarted {
        /// The step.
        step: StepId,
        /// Which attempt, from 1.
        attempt: u8,
    },
    /// A moving name was resolved; every later attempt fetches just this.
    StepPinned {
        /// The step.
        step: StepId,
        /// Which attempt resolved it; 0 if another build of the same plan did.
        attempt: u8,
        /// The exact state.
        revision: Revision,
    },
    /// A step took too long and was asked to stop.
    StepTimedOut {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u8,
    },
    /// A step did what it should.
    StepSucceeded {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u8,
        /// What it made.
        output: Box<Output>,
    },
    /// An attempt of a step failed.
    StepFailed {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u8,
        /// Why.
        failure: Failure,
    },
    /// The wait before the next attempt of a step is over.
    StepDue {
        /// The step.
        step: StepId,
    },
    /// A step will never run.
    StepSkipped {
        /// The step.
        step: StepId,
    },
    /// The build is to stop.
    CancelRequested {
        /// Why.
        cause: CancelCause,
        /// For people.
        reason: String,
        /// Whether after-steps are to stop and be skipped too.
        #[serde(default)]
        force: bool,
        /// Who asked, where somebody did and is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// Nothing more will happen.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
}

/// An event with its place in the journal and the time it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The place, from 1.
    pub seq: Seq,
    /// When it was written, by the clock of whoever wrote it.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Who did something, for those who read a journal later. It decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// As whom.
    pub owner: Owner,
    /// By what name: that of a token or of a hook, never the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Who or what asked a build to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// Somebody asked.
    Request,
    /// The time of the whole build is over.
    Timeout,
}

/// What a step made. Every field is empty that the step's verb does not fill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Fetch: the exact state that was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Build and commit: the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Push and publish: the digest on the other side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Scan: what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Upload, collect and save: what is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Plan: the steps and boxes that the build's own plan was extended by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Anything a step wants to tell, such as a message or a number it reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

/// An image on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The host's own id, such as `sha256:…` of the image's configuration.
    pub id: String,
    /// Its names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<ImageRef>,
    /// Its size in bytes, as the host counts it.
    pub bytes: u64,
}

/// A file that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its key in the artifact store.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The scanner and the state of its data.
    pub scanner: String,
    /// How many findings there are of each severity.
    pub findings: BTreeMap<Severity, u32>,
}

/// Why an attempt failed, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault, which decides what follows.
    pub class: FailureClass,
    /// What kind of error it was.
    pub kind: ErrorKind,
    /// What happened, as a sentence.
    pub message: String,
    /// What the reader can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exit code of the user's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// What the step told before it failed, such as a message it left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The user's code, recipe or request. Trying again would not help.
    User,
    /// Our machines or their network. Trying again may help.
    Infra,
    /// It took too long.
    Timeout,
    /// It was asked to stop.
    Cancelled,
    /// Its driver went away while it ran.
    Lost,
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every step that had to succeed did.
    Succeeded,
    /// The user's code said no.
    Failed {
        /// The first step that failed, in the order of the plan.
        step: StepId,
    },
    /// Our machine broke.
    Errored {
        /// The first step that failed, in the order of the plan.
        step: StepId,
    },
    /// It took longer than the plan allows.
    TimedOut,
    /// Somebody asked to stop.
    Cancelled,
}

impl Failure {
    /// A failure of a class with a message and nothing else.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        let kind = match class {
            FailureClass::User => ErrorKind::Failed,
            FailureClass::Infra | FailureClass::Lost => ErrorKind::Unavailable,
            FailureClass::Timeout => ErrorKind::Timeout,
            FailureClass::Cancelled => ErrorKind::Cancelled,
        };
        Self {
            class,
            kind,
            message: message.into(),
            hint: None,
            exit_code: None,
            notes: BTreeMap::new(),
        }
    }

    /// Whether another attempt may help.
    pub fn is_retryable(&self) -> bool {
        match self.class {
            FailureClass::Lost => true,
            // A full disk or corrupt data is our fault, but does not go away by itself.
            FailureClass::Infra => !matches!(
                self.kind,
                ErrorKind::Exhausted | ErrorKind::Corrupt | ErrorKind::Unexpected
            ),
            FailureClass::User | FailureClass::Timeout | FailureClass::Cancelled => false,
        }
    }
}

impl Outcome {
    /// The word for it: `succeeded`, `failed`, `errored`, `timed_out` or `cancelled`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Errored { .. } => "errored",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}
