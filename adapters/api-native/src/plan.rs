//! From the short forms to plans.

use crate::wire::{Build, Commit, Pipeline, Run, Source, Submit};
use kiln::{
    Attempts, BoxName, BoxSpec, BuildSpec, CommitSpec, ContainerRef, Context, Error, ErrorKind,
    ImageFrom, ImageRef, Mount, MountSource, Op, Plan, PlanBuilder, Recipe, RelPath, Result,
    SecretRef, SourceSpec, Step, StepId,
};
use std::time::Duration;

const OP: &str = "submit";
/// Where source code goes below the workspace.
const SOURCE: &str = "source";

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OP, message)
}

fn checked<T, E: std::fmt::Display>(value: std::result::Result<T, E>) -> Result<T> {
    value.map_err(|e| invalid(e.to_string()))
}

/// The plan of a submission.
pub(crate) fn plan(submit: Submit) -> Result<Plan> {
    let mut plan = Plan::builder();
    match (submit.plan, submit.build, submit.commit, submit.run, submit.pipeline) {
        (Some(plan), None, None, None, None) => return Ok(plan),
        (None, Some(form), None, None, None) => build(&mut plan, form)?,
        (None, None, Some(form), None, None) => commit(&mut plan, form)?,
        (None, None, None, Some(form), None) => run(&mut plan, form)?,
        (None, None, None, None, Some(form)) => pipeline(&mut plan, form)?,
        _ => return Err(invalid("name one of `plan`, `build`, `commit`, `run` and `pipeline`")),
    }
    checked(plan.finish())
}

/// A source as a plan has it.
pub(crate) fn source_spec(source: Source) -> SourceSpec {
    SourceSpec {
        reference: source.reference,
        credentials: source.credentials,
        submodules: source.submodules,
        ..SourceSpec::new(source.url)
    }
}

fn fetch(plan: &mut PlanBuilder, source: Source) -> Result<StepId> {
    let spec = source_spec(source);
    let op = Op::Fetch { source: spec, into: checked(RelPath::new(SOURCE))? };
    Ok(plan.step(Step::new("fetch", op).attempts(Attempts::up_to(3))))
}

fn build(plan: &mut PlanBuilder, form: Build) -> Result<()> {
    let recipe = match (form.dockerfile, form.file) {
        (Some(_), Some(_)) => return Err(invalid("`dockerfile` and `file` exclude each other")),
        (Some(text), None) => Recipe::Inline { text },
        (None, _) if form.source.is_none() => {
            return Err(invalid("there is nothing to build: name a `source` or a `dockerfile`"));
        }
        (None, None) => Recipe::Dockerfile { path: None },
        (None, Some(file)) => {
            let file = checked(RelPath::new(&file))?;
            Recipe::Dockerfile { path: Some(file.as_str().into()) }
        }
    };
    let fetched = form.source.map(|source| fetch(plan, source)).transpose()?;
    let context = match fetched {
        Some(_) => Context::Workspace { path: checked(RelPath::new(SOURCE))? },
        None => Context::Empty,
    };
    let spec = BuildSpec {
        tags: form.tags.clone(),
        args: form.args,
        labels: form.labels,
        target: form.target,
        no_cache: form.no_cache,
        ..BuildSpec::new(recipe).context(context)
    };
    let mut step = Step::build("build", spec).attempts(Attempts::up_to(2));
    step.needs.extend(fetched);
    let built = plan.step(step);
    if form.push {
        push(plan, built, form.tags, form.credentials)?;
    }
    Ok(())
}

fn commit(plan: &mut PlanBuilder, form: Commit) -> Result<()> {
    let spec = CommitSpec {
        tags: form.tags.clone(),
        without_pause: form.without_pause,
        ..CommitSpec::default()
    };
    let container = ContainerRef::Container(form.container);
    let made = plan.step(Step::new("commit", Op::Commit { container, spec }));
    if form.push {
        push(plan, made, form.tags, form.credentials)?;
    }
    Ok(())
}

fn push(
    plan: &mut PlanBuilder,
    image: StepId,
    tags: Vec<ImageRef>,
    credentials: Option<SecretRef>,
) -> Result<()> {
    if tags.is_empty() {
        return Err(invalid("a push needs `tags` to push to"));
    }
    for (i, to) in tags.into_iter().enumerate() {
        let name = if i == 0 { "push".to_owned() } else { format!("push-{}", i + 1) };
        let op = Op::Push { image: ImageFrom::Step(image), to, credentials: credentials.clone() };
        plan.step(Step::new(name, op).after(image).attempts(Attempts::up_to(3)));
    }
    Ok(())
}

fn run(plan: &mut PlanBuilder, form: Run) -> Result<()> {
    let main = checked(BoxName::new("main"))?;
    let mut spec = BoxSpec::new(form.image);
    let fetched = form.source.map(|source| fetch(plan, source)).transpose()?;
    if fetched.is_some() {
        let source = MountSource::Workspace(checked(RelPath::new(SOURCE))?);
        spec.mounts.push(Mount { source, target: "/src".into(), read_only: false });
        spec.cwd = Some("/src".into());
    }
    plan.add_box(main.clone(), spec);
    let mut step = Step::new("run", Op::Exec { in_box: main, command: form.command });
    step.needs.extend(fetched);
    step.timeout = form.timeout_ms.map(Duration::from_millis);
    plan.step(step);
    Ok(())
}

fn pipeline(plan: &mut PlanBuilder, form: Pipeline) -> Result<()> {
    let source = checked(RelPath::new(SOURCE))?;
    let path = match form.path {
        Some(path) => source.join(&checked(RelPath::new(&path))?),
        None => source,
    };
    let mut settings = form.settings;
    settings.entry("version").or_insert_with(|| 1.into());
    let fetched = fetch(plan, form.source)?;
    let op = Op::Plan { planner: form.planner, path, settings: settings.into() };
    plan.step(Step::new("read pipeline", op).after(fetched));
    if let Some(limit) = form.timeout_ms {
        plan.timeout(Duration::from_millis(limit));
    }
    Ok(())
}
