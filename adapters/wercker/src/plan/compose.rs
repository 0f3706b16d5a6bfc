//! From a pipeline and the code of its steps to a plan. Nothing here touches the world.

use super::{
    Places, Settings,
    boxes::{Boxed, Boxes},
    names::Names,
    scope::Scope,
    trouble::Trouble,
};
use crate::{
    file::{Diagnostic, Pipeline, Source, StepDef},
    step::{Export, Manifest, Paths, Run, StepRef, StepSource, resume, setup, setup_in_place},
};
use kiln::{
    BoxName, Command, Fact, Op, Plan, PlanBuilder, SessionName, Step, StepId, When, secret::Value,
};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// The name of the box.
pub(super) const BOX: &str = "pipeline";
/// The longest time that a file may ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The file, for diagnostics.
    pub source: &'a Source,
    /// The pipeline of it.
    pub pipeline: &'a Pipeline,
    /// What the run is told beside it.
    pub settings: &'a Settings,
    /// The id of the run.
    pub run_id: &'a str,
    /// Its steps, in order.
    pub steps: &'a [StepCode],
    /// Its after-steps, in order.
    pub after_steps: &'a [StepCode],
    /// Where in the workspace the box finds things.
    pub places: &'a Places,
}

/// A step and what is known of its code.
#[derive(Clone, Debug)]
pub struct StepCode {
    /// What is written.
    pub def: StepDef,
    /// Which step that is.
    pub step: StepRef,
    /// The name of its directory.
    pub safe_id: String,
    /// What it says of itself.
    pub manifest: Option<Manifest>,
    /// Whether it has an `init.sh`.
    pub init: bool,
    /// How its `run.sh` is run.
    pub run: Run,
}

/// A plan, and what is odd about the file it is of.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan: a fragment, for a build whose plan step asked for it.
    pub plan: Plan,
    /// What is odd: warnings alone, by place.
    pub warnings: Vec<Diagnostic>,
}

/// Makes the plan of a pipeline.
///
/// Fails with everything that is wrong, by place: at least one error, and the warnings.
pub fn plan(recipe: &Recipe<'_>) -> Result<Planned, Vec<Diagnostic>> {
    let mut composer = Composer::new(recipe);
    composer.compose();
    composer.finish()
}

/// A part of the pipeline whose steps follow each other in one shell.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// The shell.
    pub(super) session: SessionName,
    /// On which fate of the step before the next one runs.
    pub(super) when: When,
    /// Whether its failures are none of the build.
    pub(super) may_fail: bool,
    /// What the next step waits for.
    pub(super) tail: Vec<StepId>,
    /// What the next command of the shell is told first, and its variables.
    pub(super) opening: Option<(String, BTreeMap<String, Value>)>,
}

/// Makes a plan, step by step.
#[derive(Debug)]
pub(super) struct Composer<'a> {
    pub(super) recipe: Recipe<'a>,
    pub(super) settings: &'a Settings,
    pub(super) paths: Paths,
    pub(super) scope: Scope,
    pub(super) trouble: Trouble<'a>,
    pub(super) names: Names,
    pub(super) builder: PlanBuilder,
    /// The images that steps build, by the names that other steps have for them.
    pub(super) built: BTreeMap<String, StepId>,
}

impl<'a> Composer<'a> {
    fn new(recipe: &Recipe<'a>) -> Self {
        let (pipeline, settings) = (recipe.pipeline, recipe.settings);
        let mut paths = Paths::default();
        if let Some(base) = &pipeline.base_path {
            base.value.trim_end_matches('/').clone_into(&mut paths.pipeline);
        }
        if let Some(dir) = &pipeline.source_dir {
            paths.source_dir = dir.value.clone();
        }
        Self {
            recipe: *recipe,
            settings,
            scope: Scope::new(settings, recipe.run_id, &paths),
            paths,
            trouble: Trouble::new(recipe.source),
            names: Names::default(),
            builder: Plan::builder(),
            built: BTreeMap::new(),
        }
    }

    fn compose(&mut self) {
        let recipe = self.recipe;
        if recipe.pipeline.docker {
            let place = recipe.pipeline.name.place;
            let message = "`docker: true` has no effect: a box is not given the engine's socket";
            self.trouble.warning(place, "docker-socket", message, "");
        }
        if recipe.steps.is_empty() {
            let place = recipe.pipeline.name.place;
            let message = format!("the pipeline `{}` has no steps to run", *recipe.pipeline.name);
            self.trouble.error(place, "no-steps", message, "Give it `steps:`.");
        }
        let mut all = recipe.steps.iter().chain(recipe.after_steps);
        let out = ["docker-build", "docker-scratch-push"];
        let mut boxes = Boxes {
            settings: self.settings,
            scope: &self.scope,
            trouble: &mut self.trouble,
            exchange: all.any(|c| {
                c.step.source == StepSource::Internal && out.contains(&c.step.name.as_str())
            }),
        };
        let Some(boxed) = boxes.main(recipe.pipeline, &self.paths, recipe.places) else {
            return self.only_check();
        };
        self.builder.add_box(box_name(), boxed.spec.clone());
        let tail = self.prepare(&boxed);
        let mut main = Chain {
            session: session("main"),
            when: When::Success,
            may_fail: false,
            tail,
            opening: None,
        };
        for code in recipe.steps {
            self.step(&mut main, code);
        }
        let opening = format!("{}{}", exports(&boxed.exports), resume(&self.paths));
        let mut after = Chain {
            session: session("after"),
            when: When::Always,
            may_fail: true,
            tail: main.tail.clone(),
            opening: Some((opening, self.told())),
        };
        for code in recipe.after_steps {
            self.step(&mut after, code);
        }
        // What follows is judged by the steps, and comes after the after-steps.
        main.tail.extend(after.tail);
        main.tail.sort();
        main.tail.dedup();
        self.end(&main.tail);
    }

    /// Finds what is wrong with the steps where there is no box for them.
    fn only_check(&mut self) {
        let mut chain = Chain {
            session: session("main"),
            when: When::Success,
            may_fail: false,
            tail: Vec::new(),
            opening: None,
        };
        for code in self.recipe.steps.iter().chain(self.recipe.after_steps) {
            self.step(&mut chain, code);
        }
    }

    /// The first command of the shell, and the cache: before all steps.
    fn prepare(&mut self, boxed: &Boxed) -> Vec<StepId> {
        let codes = self.recipe.steps.iter().chain(self.recipe.after_steps);
        let ids: Vec<_> = codes.map(|code| code.safe_id.clone()).collect();
        let begin = if self.settings.direct_mount.is_some() { setup_in_place } else { setup };
        let text = format!("{}{}", exports(&boxed.exports), begin(&self.paths, &ids));
        let mut command = Command::in_session(session("main"), text);
        command.env = self.scope.all().clone();
        let op = Op::Exec { in_box: box_name(), command };
        let name = self.names.take("setup environment");
        let step = Step::new(name, op).timeout(self.command_timeout());
        let ready = self.builder.step(step);
        self.restore(ready).map_or_else(|| vec![ready], |restored| vec![ready, restored])
    }

    /// The variables of after-steps.
    fn told(&self) -> BTreeMap<String, Value> {
        let mut all = self.scope.all().clone();
        all.insert("WERCKER_RESULT".into(), Value::Fact(Fact::Result));
        all.insert("WERCKER_FAILED_STEP_DISPLAY_NAME".into(), Value::Fact(Fact::FailedStep));
        all.insert("WERCKER_FAILED_STEP_MESSAGE".into(), Value::Fact(Fact::FailedMessage));
        all
    }

    pub(super) fn command_timeout(&self) -> Duration {
        let written = self.recipe.pipeline.command_timeout.as_ref().map(|t| t.value);
        written.map_or_else(|| self.settings.command_timeout(), |time| time.min(TIMEOUT_MAX))
    }

    pub(super) fn no_response_timeout(&self) -> Duration {
        let written = self.recipe.pipeline.no_response_timeout.as_ref().map(|t| t.value);
        written.map_or_else(|| self.settings.no_response_timeout(), |time| time.min(TIMEOUT_MAX))
    }

    /// Adds a step to a chain: it waits for the end of the chain, and is its new end.
    pub(super) fn link(&mut self, chain: &mut Chain, mut step: Step) -> StepId {
        step.needs.extend(&chain.tail);
        step.when = chain.when;
        step.may_fail = chain.may_fail;
        let id = self.builder.step(step);
        chain.tail = vec![id];
        id
    }

    fn finish(mut self) -> Result<Planned, Vec<Diagnostic>> {
        if self.trouble.has_error() {
            return Err(self.trouble.finish());
        }
        match self.builder.finish() {
            Ok(plan) => Ok(Planned { plan, warnings: self.trouble.finish() }),
            Err(e) => {
                let place = self.recipe.pipeline.name.place;
                let message = format!("the pipeline makes no plan: {e}");
                self.trouble.error(place, "no-plan", message, "");
                Err(self.trouble.finish())
            }
        }
    }
}

pub(super) fn box_name() -> BoxName {
    BoxName::new(BOX).expect("a legal name")
}

fn session(name: &str) -> SessionName {
    SessionName::new(name).expect("a legal name")
}

/// The lines that give variables their values.
fn exports(exports: &[Export]) -> String {
    exports.iter().fold(String::new(), |mut all, Export { name, value }| {
        let _ = writeln!(all, "export {}={}", name, value.word());
        all
    })
}
