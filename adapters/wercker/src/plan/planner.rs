//! The planner: reads `wercker.yml` in a workspace, brings its steps, and answers with the plan.

use super::{
    PLANNER, Places, Recipe, Settings, StepCode, origin, plan, resolve::Resolver, workspace,
};
use crate::{
    file::{Diagnostic, FILE_NAMES, File, Pipeline, StepDef},
    step::{Refresh, StepCache, StepRegistry},
};
use async_trait::async_trait;
use kiln::{
    Error, ErrorKind, Plan, RelPath, Result, StepCx,
    memory::SystemClock,
    port::{Clock, PlanAsk, Planner},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

const OP: &str = "Planner::plan";
/// How many bytes `wercker.yml` may have, so that it is read at all.
const FILE_MAX: u64 = 4 << 20;

/// The [`Planner`] of pipelines in `wercker.yml`.
#[derive(Debug)]
pub struct WerckerPlanner {
    pub(super) registry: Arc<dyn StepRegistry>,
    pub(super) cache: StepCache,
    pub(super) clock: Arc<dyn Clock>,
    address: Option<String>,
    local_steps: bool,
}

impl WerckerPlanner {
    /// A planner over a registry of steps and a cache that is for this registry alone. Steps cannot
    /// be directories.
    pub fn new(registry: Arc<dyn StepRegistry>, cache: StepCache) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self { registry, cache, clock, address: None, local_steps: false }
    }

    /// With the address of the registry: runs may name it, and no other one.
    #[must_use]
    pub fn address(self, address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..self }
    }

    /// Lets steps be directories of this machine, for runs that ask for that too. Only for machines
    /// whose user wrote the file.
    #[must_use]
    pub fn local_steps(self) -> Self {
        Self { local_steps: true, ..self }
    }

    /// With another clock, which says how old answers of the registry are.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    fn settings(&self, ask: &PlanAsk<'_>) -> Result<Settings> {
        let no = |kind, message: String| Error::new(kind, OP, message);
        let mut settings = Settings::read(ask.settings).map_err(|e| {
            no(ErrorKind::Invalid, format!("the settings of the run are wrong: {e}"))
        })?;
        if let Some(asked) = &settings.registry
            && self.address.as_deref().map(|a| a.trim_end_matches('/'))
                != Some(asked.trim_end_matches('/'))
        {
            let message = "steps come from another registry here".to_owned();
            return Err(no(ErrorKind::Denied, message)
                .with("asked for", asked)
                .with("registry", self.address.as_deref().unwrap_or("unnamed"))
                .hint("Leave the registry out of the settings."));
        }
        origin::complete(&mut settings, ask.fetched);
        Ok(settings)
    }
}

/// A file that was read.
struct Read {
    file: File,
    /// The directory it is in, in the workspace.
    project: RelPath,
}

#[async_trait]
impl Planner for WerckerPlanner {
    fn accepts(&self, planner: &str) -> bool {
        planner == PLANNER
    }

    async fn plan(&self, cx: &StepCx, ask: &PlanAsk<'_>) -> Result<Plan> {
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let settings = self.settings(ask)?;
        let Read { file, project } = read(cx, ask.path, &settings)?;
        let pipeline = file
            .pipeline(&settings.pipeline, settings.deploy_target.as_deref())
            .map_err(|diagnostic| refused(cx, &[*diagnostic]))?;
        let places = prepare(cx, ask, &project, &settings).await?;
        let (steps, after_steps) =
            self.bring(cx, ask, (&file, &pipeline), &project, &settings).await?;
        let run_id = settings.run_id.clone().unwrap_or_else(|| cx.key.build.to_string());
        let recipe = Recipe {
            source: &file.source,
            pipeline: &pipeline,
            settings: &settings,
            run_id: &run_id,
            steps: &steps,
            after_steps: &after_steps,
            places: &places,
        };
        let planned = plan(&recipe).map_err(|found| refused(cx, &found))?;
        tell(cx, &planned.warnings);
        Ok(planned.plan)
    }
}

impl WerckerPlanner {
    /// Brings the code of all steps.
    async fn bring(
        &self,
        cx: &StepCx,
        ask: &PlanAsk<'_>,
        (file, pipeline): (&File, &Pipeline),
        project: &RelPath,
        settings: &Settings,
    ) -> Result<(Vec<StepCode>, Vec<StepCode>)> {
        let mut resolver = Resolver {
            planner: self,
            cx,
            ask,
            source: &file.source,
            project: project.below(&cx.workspace),
            steps: cx.workspace.join(STEPS),
            refresh: if settings.refresh { Refresh::Always } else { Refresh::WhenOld },
            local: self.local_steps && settings.local_steps,
            known: BTreeMap::new(),
            found: Vec::new(),
        };
        let mut all = (Vec::new(), Vec::new());
        let main = pipeline.steps.iter().map(|def| (def, true));
        let after = pipeline.after_steps.iter().map(|def| (def, false));
        for (n, (def, is_main)) in main.chain(after).enumerate() {
            if cx.cancel.is_cancelled() {
                return Err(cx.cancelled(OP));
            }
            let def: &StepDef = def;
            if let Some(code) = resolver.bring(n + 1, def).await? {
                if is_main { all.0.push(code) } else { all.1.push(code) }
            }
        }
        if resolver.found.iter().any(Diagnostic::is_error) {
            return Err(refused(cx, &resolver.found));
        }
        tell(cx, &resolver.found);
        Ok(all)
    }
}

/// The directories of the workspace that are the planner's own.
const STEPS: &str = "steps";
const FETCHED: &str = "fetched";
const EXCHANGE: &str = "exchange";
const INPUT: &str = "input";

/// Makes the planner's own directories, and fetches what steps work on in place of the source.
async fn prepare(
    cx: &StepCx,
    ask: &PlanAsk<'_>,
    project: &RelPath,
    settings: &Settings,
) -> Result<Places> {
    let path = |text: &str| {
        RelPath::new(text).map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))
    };
    let first = project.as_str().split('/').next().unwrap_or_default();
    if project.is_root() || [STEPS, FETCHED, EXCHANGE, INPUT].contains(&first) {
        let message = "the source has to be in a directory of its own in the workspace";
        return Err(Error::new(ErrorKind::Invalid, OP, message)
            .with("path", project)
            .hint("Fetch it into `source`, say."));
    }
    for own in [STEPS, FETCHED, EXCHANGE] {
        workspace::fresh(&cx.workspace.join(own))?;
    }
    // Whoever the user of the box is.
    workspace::open_to(&cx.workspace.join(EXCHANGE), 0o777)?;
    let mut source = project.clone();
    if let Some(input) = &settings.input {
        source = path(INPUT)?;
        // A plan that was submitted may have fetched it: only such a one may name an upload.
        if workspace::inside(&cx.workspace, &source)?.is_none() {
            ask.sources.fetch(input, &source).await?;
        }
        if let Some(only) = workspace::only_directory(&source.below(&cx.workspace))? {
            source = source.join(&path(&only)?);
        }
        cx.log.line(format!("steps work on {}", input.url.split('?').next().unwrap_or_default()));
    }
    Ok(Places { source, steps: path(STEPS)?, exchange: path(EXCHANGE)? })
}

/// Reads the file: the one that is named, or the first of those that it may be.
fn read(cx: &StepCx, path: &RelPath, settings: &Settings) -> Result<Read> {
    let at = workspace::inside(&cx.workspace, path)?.unwrap_or_else(|| path.below(&cx.workspace));
    let is_file = at.is_file();
    let (project, named) = match path.as_str().rsplit_once('/') {
        _ if !is_file => (path.clone(), settings.file.clone()),
        Some((directory, file)) => (rel(directory)?, Some(rel(file)?)),
        None => (RelPath::root(), Some(path.clone())),
    };
    let directory: PathBuf = project.below(&cx.workspace);
    let names =
        named.map_or_else(|| FILE_NAMES.map(str::to_owned).to_vec(), |n| vec![n.to_string()]);
    for name in &names {
        if let Some(text) = workspace::read(&directory, &rel(name)?, FILE_MAX)? {
            let parsed = File::parse(name, &text);
            let Some(file) = parsed.file else { return Err(refused(cx, &parsed.diagnostics)) };
            if parsed.diagnostics.iter().any(Diagnostic::is_error) {
                return Err(refused(cx, &parsed.diagnostics));
            }
            tell(cx, &parsed.diagnostics);
            return Ok(Read { file, project });
        }
    }
    Err(Error::new(ErrorKind::NotFound, OP, "there is no wercker.yml in the source")
        .with("looked for", names.join(", "))
        .hint("`kiln detect` writes one."))
}

fn rel(text: &str) -> Result<RelPath> {
    RelPath::new(text).map_err(|e| Error::new(ErrorKind::Invalid, OP, e.to_string()))
}

/// Puts diagnostics into the log.
fn tell(cx: &StepCx, found: &[Diagnostic]) {
    found.iter().for_each(|diagnostic| cx.log.line(diagnostic.to_string()));
}

/// The error of a file that cannot be used: the first of its mistakes, and how many more are told
/// in the log.
fn refused(cx: &StepCx, found: &[Diagnostic]) -> Error {
    tell(cx, found);
    let errors: Vec<_> = found.iter().filter(|d| d.is_error()).collect();
    let first = errors.first().map_or_else(
        || "the file cannot be used".into(),
        |d| format!("{}:{}:{}: {}", d.file, d.line, d.column, d.message),
    );
    let message = match errors.len() {
        0 | 1 => first,
        n => format!("{first}, and {} more in the log", n - 1),
    };
    let error = Error::new(ErrorKind::Invalid, OP, message);
    match errors.first().and_then(|d| d.help.clone()) {
        Some(help) => error.hint(help),
        None => error,
    }
}
