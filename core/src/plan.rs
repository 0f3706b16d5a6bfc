//! A plan is a value: a checked graph of steps. Planning does no I/O.

mod boxes;
mod cache;
mod check;
mod extend;
mod op;
mod placement;
mod secrets;
mod session;
mod source;
mod step;

pub use boxes::{BoxSpec, Mount, MountSource, Port, Protocol, Resources, ServiceSpec};
pub use cache::{CacheKey, CacheKeyError};
pub use op::{
    BuildSpec, Command, CommitSpec, ContainerRef, Context, ImageFrom, Op, Recipe, Severity, Target,
};
pub use placement::Placement;
pub use source::{Revision, SourceSpec};
pub use step::{Attempts, Step, When};

use crate::{BoxName, SessionName, StepId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// How many steps a plan may have.
pub const STEPS_MAX: usize = 4096;

/// What a build does: steps, each after the steps it needs, and the boxes they run in.
///
/// Only [`Plan::new`] and the builder make one, so every plan is checked: names are unique, needs
/// point backwards, boxes exist. Stored as JSON with a version; see `docs/formats.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Plan {
    steps: Vec<Step>,
    boxes: BTreeMap<BoxName, BoxSpec>,
    timeout: Option<Duration>,
}

/// The stored form of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    boxes: BTreeMap<BoxName, BoxSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

/// The version of the stored form that this code writes.
const VERSION: u32 = 1;

/// Why steps and boxes make no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is nothing to do.
    #[error("the plan has no steps")]
    Empty,
    /// More than [`STEPS_MAX`] steps.
    #[error("the plan has {0} steps, the limit is {STEPS_MAX}")]
    TooLong(usize),
    /// A need that does not come earlier.
    #[error("step `{step}` needs step number {needs}, which does not come before it")]
    NotBefore {
        /// The step.
        step: String,
        /// What it needs.
        needs: StepId,
    },
    /// Names tell steps apart in logs.
    #[error("two steps are named `{0}`")]
    DuplicateName(String),
    /// A name that could not be shown in one line.
    #[error("step number {0} has a name that is empty, too long (128) or has control characters")]
    BadName(StepId),
    /// A step that could never run.
    #[error("step `{0}` allows no attempt")]
    NoAttempt(String),
    /// A command in a box that is not there.
    #[error("step `{step}` runs in box `{name}`, which the plan does not have")]
    NoSuchBox {
        /// The step.
        step: String,
        /// The box.
        name: BoxName,
    },
    /// A command without a program.
    #[error("step `{0}` runs an empty command")]
    EmptyCommand(String),
    /// A command that its session could not run.
    #[error("step `{step}` of session `{session}`: {problem}")]
    BadSession {
        /// The step.
        step: String,
        /// The session.
        session: SessionName,
        /// Why not.
        problem: String,
    },
    /// A note that could not be read, or not be shown.
    #[error("step `{step}` asks for the note `{note}`: {problem}")]
    BadNote {
        /// The step.
        step: String,
        /// The name of the note.
        note: String,
        /// Why not.
        problem: &'static str,
    },
    /// A box that no runtime could start.
    #[error("box `{name}`: {problem}")]
    BadBox {
        /// The box.
        name: BoxName,
        /// Why not.
        problem: String,
    },
    /// An image that may not be there when it is needed.
    #[error("step `{step}` works on the image of step number {from}, which is not among its needs")]
    ImageNotNeeded {
        /// The step.
        step: String,
        /// The step that makes the image.
        from: StepId,
    },
    /// An image from a step that makes none.
    #[error("step `{step}` works on the image of step `{from}`, which makes no image")]
    NoImage {
        /// The step.
        step: String,
        /// The other step.
        from: String,
    },
    /// Steps that can run on no single node.
    #[error("no node can run all steps: they ask for {0}")]
    Placement(String),
    /// A fact where none is resolved.
    #[error("{place} has a fact as `{variable}`: only variables of commands can be facts")]
    FactOutside {
        /// Where.
        place: String,
        /// The variable or argument.
        variable: String,
    },
    /// A planner that nobody can be named.
    #[error("step `{0}` names a planner that is empty, too long (64) or has control characters")]
    BadPlanner(String),
    /// A limit that every step breaks.
    #[error("step `{0}` may not be quiet for any time")]
    NoQuiet(String),
    /// Nothing to collect, or no name for it.
    #[error("step `{0}` collects from no path, or under no name")]
    EmptyCollect(String),
    /// A path in a box that is none.
    #[error("step `{step}` names `{path}`, which is no absolute path without `..`")]
    BadPath {
        /// The step.
        step: String,
        /// What it names.
        path: String,
    },
    /// A fragment that nobody asked for.
    #[error("step number {0} does not ask for a plan")]
    NotAsked(StepId),
    /// A fragment that limits what is not its own.
    #[error("a plan that becomes part of another has no time limit of its own")]
    FragmentTimeout,
    /// A fragment that would replace a box.
    #[error("there is a box `{0}` already")]
    BoxExists(BoxName),
    /// A fragment that asks on.
    #[error(
        "step `{0}` is of a plan that another step asked for, and cannot ask for a plan itself"
    )]
    NestedPlan(String),
    /// A fragment for another node.
    #[error("the new steps ask for more of their node than the build did when it was placed")]
    PlacementGrows,
    /// Written by a newer version of this library.
    #[error("the plan has version {0}, this library reads version {VERSION}")]
    Version(u32),
}

impl Plan {
    /// Checks steps that need no boxes.
    pub fn new(steps: Vec<Step>) -> Result<Self, PlanError> {
        Self::checked(steps, BTreeMap::new(), None)
    }

    /// Starts a plan step by step.
    pub fn builder() -> PlanBuilder {
        PlanBuilder::default()
    }

    fn checked(
        steps: Vec<Step>,
        boxes: BTreeMap<BoxName, BoxSpec>,
        timeout: Option<Duration>,
    ) -> Result<Self, PlanError> {
        if steps.is_empty() {
            return Err(PlanError::Empty);
        }
        if steps.len() > STEPS_MAX {
            return Err(PlanError::TooLong(steps.len()));
        }
        let plan = Self { steps, boxes, timeout };
        let mut names = HashMap::new();
        for id in plan.ids() {
            plan.check_step(id)?;
            if names.insert(&plan.step(id).name, id).is_some() {
                return Err(PlanError::DuplicateName(plan.step(id).name.clone()));
            }
        }
        plan.check_boxes()?;
        plan.check_sessions()?;
        plan.try_placement().map_err(PlanError::Placement)?;
        Ok(plan)
    }

    fn check_step(&self, id: StepId) -> Result<(), PlanError> {
        let step = self.step(id);
        let name = || step.name.clone();
        if step.name.is_empty() || step.name.len() > 128 || step.name.contains(char::is_control) {
            return Err(PlanError::BadName(id));
        }
        if let Some(&needs) = step.needs.iter().find(|&&n| n >= id) {
            return Err(PlanError::NotBefore { step: name(), needs });
        }
        if step.attempts.max == 0 {
            return Err(PlanError::NoAttempt(name()));
        }
        step.check_values()?;
        if let Op::Exec { command, .. } = &step.op {
            session::check_command(&step.name, command)?;
        }
        if let Some(in_box) = step.op.box_name()
            && !self.boxes.contains_key(in_box)
        {
            return Err(PlanError::NoSuchBox { step: name(), name: in_box.clone() });
        }
        if let Some(ImageFrom::Step(from)) = step.op.image() {
            if !step.needs.contains(from) {
                return Err(PlanError::ImageNotNeeded { step: name(), from: *from });
            }
            if !self.step(*from).op.makes_image() {
                let from = self.step(*from).name.clone();
                return Err(PlanError::NoImage { step: name(), from });
            }
        }
        Ok(())
    }

    fn try_placement(&self) -> Result<Placement, String> {
        self.steps.iter().try_fold(Placement::default(), |all, step| all.and(&step.placement))
    }

    /// What the build as a whole asks of its node.
    pub fn placement(&self) -> Placement {
        self.try_placement().expect("checked when the plan was made")
    }

    /// The places of all steps, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = StepId> + use<> {
        (0..self.steps.len()).map(|i| StepId(i as u16))
    }

    /// One step. Panics if the plan has no such step; [`Plan::get`] does not.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.index()]
    }

    /// One step, if the plan has it.
    pub fn get(&self, id: StepId) -> Option<&Step> {
        self.steps.get(id.index())
    }

    /// The step of a name.
    pub fn find(&self, name: &str) -> Option<StepId> {
        self.ids().find(|&id| self.step(id).name == name)
    }

    /// All steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The boxes that steps run in.
    pub fn boxes(&self) -> &BTreeMap<BoxName, BoxSpec> {
        &self.boxes
    }

    /// How long the build may take before it is stopped; its after-steps still run.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether any step or box names a path of the host, which a server refuses.
    pub fn uses_local_paths(&self) -> bool {
        let step = |s: &Step| match &s.op {
            Op::Build(b) => {
                matches!(b.context, Context::Directory { .. } | Context::Archive { .. })
                    || matches!(&b.recipe, Recipe::Dockerfile { path: Some(p) } if p.is_absolute())
            }
            _ => false,
        };
        let mount = |m: &Mount| matches!(m.source, MountSource::Directory(_));
        self.steps.iter().any(step) || self.boxes.values().any(|b| b.mounts.iter().any(mount))
    }

    /// Whether any port of a box is published where other machines may reach it: at an address of the
    /// host that is not its loopback. A server refuses that.
    pub fn opens_ports(&self) -> bool {
        let open = |port: &Port| !port.address().to_canonical().is_loopback();
        self.boxes.values().any(|spec| spec.ports.iter().any(open))
    }

    /// Whether any step works on a container that is not one of the build's own boxes: on a server
    /// that is everybody's.
    pub fn uses_host_containers(&self) -> bool {
        let foreign =
            |s: &Step| matches!(&s.op, Op::Commit { container: ContainerRef::Container(_), .. });
        self.steps.iter().any(foreign)
    }
}

impl TryFrom<Stored> for Plan {
    type Error = PlanError;

    fn try_from(stored: Stored) -> Result<Self, PlanError> {
        if stored.version != VERSION {
            return Err(PlanError::Version(stored.version));
        }
        Self::checked(stored.steps, stored.boxes, stored.timeout_ms.map(Duration::from_millis))
    }
}

impl From<Plan> for Stored {
    fn from(plan: Plan) -> Self {
        Self {
            version: VERSION,
            steps: plan.steps,
            boxes: plan.boxes,
            timeout_ms: plan.timeout.map(step::millis),
        }
    }
}

/// Makes a plan step by step; see [`Plan::builder`].
#[derive(Clone, Debug, Default)]
pub struct PlanBuilder {
    steps: Vec<Step>,
    boxes: BTreeMap<BoxName, BoxSpec>,
    timeout: Option<Duration>,
}

impl PlanBuilder {
    /// Adds a step and returns its place, for others to need.
    pub fn step(&mut self, step: Step) -> StepId {
        let id = StepId(u16::try_from(self.steps.len()).unwrap_or(u16::MAX));
        self.steps.push(step);
        id
    }

    /// Adds a box, or replaces the one of that name.
    pub fn add_box(&mut self, name: BoxName, spec: BoxSpec) -> &mut Self {
        self.boxes.insert(name, spec);
        self
    }

    /// Limits the time of the whole build.
    pub fn timeout(&mut self, time: Duration) -> &mut Self {
        self.timeout = Some(time);
        self
    }

    /// Checks the plan.
    pub fn finish(self) -> Result<Plan, PlanError> {
        Plan::checked(self.steps, self.boxes, self.timeout)
    }
}
