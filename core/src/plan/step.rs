//! One step of a plan.

use super::{BuildSpec, ContainerRef, ImageFrom, Op, Placement};
use crate::{BoxName, StepId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// What to do, after what, when, how often, how long and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name in logs: 1 to 128 bytes without control characters, unique in the plan.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub op: Op,
    /// The steps that must be over before it starts; all earlier in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<StepId>,
    /// On which fate of its needs it runs.
    #[serde(default)]
    pub when: When,
    /// Whether its failure is no failure of the build.
    #[serde(default)]
    pub may_fail: bool,
    /// How often it is tried.
    #[serde(default)]
    pub attempts: Attempts,
    /// How long one attempt may take.
    #[serde(
        default,
        rename = "timeout_ms",
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_millis",
        deserialize_with = "read_millis"
    )]
    pub timeout: Option<Duration>,
    /// How long one attempt may go without any output.
    #[serde(
        default,
        rename = "quiet_ms",
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_millis",
        deserialize_with = "read_millis"
    )]
    pub quiet: Option<Duration>,
    /// Where it may run.
    #[serde(default, skip_serializing_if = "Placement::is_anywhere")]
    pub placement: Placement,
}

/// On which fate of its needs a step runs. Each need is judged by its own fate alone: whoever
/// cares about what came before names that too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Every need succeeded, and nobody asked to stop.
    #[default]
    Success,
    /// A need failed, and nobody asked to stop.
    Failure,
    /// Whatever happened: an after-step. It runs on failure, on timeout and on cancel, and only a
    /// second, forced cancel prevents it.
    Always,
}

/// How often a step is tried. Only trouble of our machines is tried again, never the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempts {
    /// How many attempts there may be, at least 1.
    pub max: u8,
    /// How many milliseconds to wait after the first failure; twice that after the second, and so
    /// on up to [`Attempts::BACKOFF_MAX`].
    #[serde(default)]
    pub backoff_ms: u64,
}

impl Attempts {
    /// The longest wait between two attempts.
    pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

    /// One attempt: for steps that are not safe to repeat.
    pub const ONE: Self = Self { max: 1, backoff_ms: 0 };

    /// Up to `max` attempts with half a second after the first.
    pub fn up_to(max: u8) -> Self {
        Self { max, backoff_ms: 500 }
    }

    /// How long to wait after this attempt failed.
    pub fn backoff(self, attempt: u8) -> Duration {
        let doublings = u32::from(attempt.saturating_sub(1)).min(40);
        let wait = self.backoff_ms.saturating_mul(1 << doublings);
        Duration::from_millis(wait).min(Self::BACKOFF_MAX)
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self::ONE
    }
}

impl Step {
    /// A step that runs when all it needs succeeded, once, anywhere.
    pub fn new(name: impl Into<String>, op: Op) -> Self {
        Self {
            name: name.into(),
            op,
            needs: Vec::new(),
            when: When::Success,
            may_fail: false,
            attempts: Attempts::ONE,
            timeout: None,
            quiet: None,
            placement: Placement::default(),
        }
    }

    /// A step that builds an image.
    pub fn build(name: impl Into<String>, spec: BuildSpec) -> Self {
        Self::new(name, Op::Build(spec))
    }

    /// Adds a step that must be over first.
    #[must_use]
    pub fn after(mut self, step: StepId) -> Self {
        self.needs.push(step);
        self
    }

    /// Says on which fate of its needs it runs.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Makes its failure no failure of the build.
    #[must_use]
    pub fn may_fail(mut self) -> Self {
        self.may_fail = true;
        self
    }

    /// Says how often it is tried.
    #[must_use]
    pub fn attempts(mut self, attempts: Attempts) -> Self {
        self.attempts = attempts;
        self
    }

    /// Limits the time of one attempt.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Limits how long one attempt may go without any output.
    #[must_use]
    pub fn quiet(mut self, time: Duration) -> Self {
        self.quiet = Some(time);
        self
    }

    /// Says where it may run.
    #[must_use]
    pub fn on(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }
}

impl Op {
    /// The verb, for views and metrics.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Fetch { .. } => "fetch",
            Self::Build(_) => "build",
            Self::Exec { .. } => "exec",
            Self::Commit { .. } => "commit",
            Self::Push { .. } => "push",
            Self::Scan { .. } => "scan",
            Self::Publish { .. } => "publish",
            Self::Upload { .. } => "upload",
            Self::Plan { .. } => "plan",
            Self::Collect { .. } => "collect",
            Self::Restore { .. } => "restore",
            Self::Save { .. } => "save",
        }
    }

    /// The box it works in or on.
    pub fn box_name(&self) -> Option<&BoxName> {
        match self {
            Self::Exec { in_box, .. }
            | Self::Collect { in_box, .. }
            | Self::Restore { in_box, .. }
            | Self::Save { in_box, .. } => Some(in_box),
            Self::Commit { container: ContainerRef::Box(name), .. } => Some(name),
            _ => None,
        }
    }

    /// The image it works on.
    pub fn image(&self) -> Option<&ImageFrom> {
        match self {
            Self::Push { image, .. } | Self::Scan { image, .. } | Self::Publish { image, .. } => {
                Some(image)
            }
            _ => None,
        }
    }

    /// The image it works on, to be changed.
    pub(super) fn image_mut(&mut self) -> Option<&mut ImageFrom> {
        match self {
            Self::Push { image, .. } | Self::Scan { image, .. } | Self::Publish { image, .. } => {
                Some(image)
            }
            _ => None,
        }
    }

    /// Whether its output is an image.
    pub fn makes_image(&self) -> bool {
        matches!(self, Self::Build(_) | Self::Commit { .. })
    }
}

/// Whole milliseconds of a duration.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
fn write_millis<S: Serializer>(time: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    time.map(millis).serialize(s)
}

fn read_millis<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(d)?.map(Duration::from_millis))
}
