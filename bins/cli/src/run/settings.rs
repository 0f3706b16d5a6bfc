//! From the arguments of `kiln run` to the settings of its plan step, and to the plan.

use super::{git, given::Given, source, target::Target, wrong};
use crate::{args::RunArgs, args::now, build::GivenSecrets};
use kiln::{Attempts, Op, Plan, RelPath, Result, SourceSpec, Step};
use kiln_wercker::plan::{Application, Cache, Commit, Git, PLANNER, SETTINGS_VERSION, Settings};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::Path};

/// Where the source goes below the workspace.
const SOURCE: &str = "source";
/// Where the output of an earlier run goes.
const INPUT: &str = "given";
/// The label that says which application a run is of.
pub(crate) const LABEL_APP: &str = "kiln.app";
/// The label that says which pipeline a run is of.
pub(crate) const LABEL_PIPELINE: &str = "kiln.pipeline";

/// Makes the settings of a run, as far as they do not depend on other runs. `kept` is who keeps
/// secrets, if that is this machine.
pub(crate) fn settings(
    args: &RunArgs,
    target: &Target,
    kept: Option<&GivenSecrets>,
) -> Result<Settings> {
    let dir = target.directory();
    let known = dir.map(git::facts).unwrap_or_default();
    let git = told(args, known);
    // Paths mean something on this machine alone.
    let here = dir.filter(|_| kept.is_some());
    let root = dir.unwrap_or(Path::new("."));
    let host = super::given::host();
    let started = host.get("WERCKER_MAIN_PIPELINE_STARTED").and_then(|text| text.parse().ok());
    let user = host.get("USER").cloned().filter(|user| !user.is_empty());
    let key = args.ends.cache_key.clone().unwrap_or_else(|| app(target, &git));
    let given = Given {
        host,
        file: (args.file.environment.clone(), root),
        env: &args.file.env,
        secrets: &args.file.secrets,
        kept,
    };
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Settings {
        version: SETTINGS_VERSION,
        pipeline: args.pipeline().to_owned(),
        deploy_target: args.deploy_target.clone(),
        file: args.file.file.as_deref().map(|file| source::inside(root, file)).transpose()?,
        run_id: args.identity.run_id.clone(),
        started_by: args.identity.started_by.clone().or(user),
        started: started.or(Some(source::seconds(now()))),
        application: application(args, &git, target),
        git,
        env: given.variables()?,
        commit: commit(args),
        checkpoints: args.ends.checkpoint,
        artifacts: args.ends.artifacts,
        cache: (!args.ends.no_cache).then_some(Cache { key, bytes_max: None }),
        command_timeout_ms: args.work.command_timeout.map(millis),
        no_response_timeout_ms: args.work.no_response_timeout.map(millis),
        memory_bytes: args.work.memory,
        direct_mount: here.filter(|_| args.work.direct_mount).map(Path::to_owned),
        local_steps: here.is_some(),
        volumes: args.work.enable_volumes && kept.is_some(),
        expose_ports: args.work.expose_ports,
        dev: args.work.dev && here.is_some(),
        registry: args.work.steps_registry.clone(),
        refresh: args.work.refresh,
        ..Settings::default()
    })
}

/// What the arguments say of the repository, and else what is known of it.
fn told(args: &RunArgs, known: Git) -> Git {
    let said = args.identity.clone();
    Git {
        domain: said.git_domain.or(known.domain),
        owner: said.git_owner.or(known.owner),
        repository: said.git_repository.or(known.repository),
        branch: said.git_branch.or(known.branch),
        tag: said.git_tag.or(known.tag),
        commit: said.git_commit.or(known.commit),
    }
}

fn application(args: &RunArgs, git: &Git, target: &Target) -> Application {
    let said = args.identity.clone();
    Application {
        id: said.application_id,
        name: said.application_name.or_else(|| git.repository.clone()).or_else(|| target.name()),
        owner: said.application_owner_name.or_else(|| git.owner.clone()),
        url: None,
    }
}

fn commit(args: &RunArgs) -> Option<Commit> {
    let ends = &args.ends;
    let repository = ends.commit.clone()?;
    Some(Commit {
        repository,
        tags: ends.tags.clone(),
        message: ends.message.clone(),
        push: ends.push,
    })
}

/// A name for what is run, by which it is known again: that of its repository or directory, and a
/// mark that tells it from others of that name.
pub(crate) fn app(target: &Target, git: &Git) -> String {
    let whole = match (&git.domain, &git.repository) {
        (Some(domain), Some(repository)) => {
            format!("{domain}/{}/{repository}", git.owner.as_deref().unwrap_or_default())
        }
        _ => target.what(),
    };
    let name = git.repository.clone().or_else(|| target.name()).unwrap_or_default();
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(legal).take(40).collect();
    let name = name.trim_start_matches(['.', '-', '_']);
    let hash = Sha256::digest(whole.as_bytes());
    let mark: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{mark}", if name.is_empty() { "app" } else { name })
}

/// The plan of a run: its source, and then whatever its pipeline says.
pub(crate) fn plan(args: &RunArgs, source: SourceSpec, settings: &Settings) -> Result<Plan> {
    let into = RelPath::new(SOURCE).map_err(|e| wrong(e.to_string()))?;
    let mut plan = Plan::builder();
    let fetch = Op::Fetch { source, into: into.clone() };
    let fetched = plan.step(Step::new("get code", fetch).attempts(Attempts::up_to(3)));
    if let Some(input) = &settings.input {
        // A planner may only name an upload that the plan itself fetches.
        let into = RelPath::new(INPUT).map_err(|e| wrong(e.to_string()))?;
        let fetch = Op::Fetch { source: input.clone(), into };
        plan.step(Step::new("get input", fetch).attempts(Attempts::up_to(3)));
    }
    let settings = serde_json::to_value(settings).map_err(|e| wrong(e.to_string()))?;
    let op = Op::Plan { planner: PLANNER.into(), path: into, settings };
    plan.step(Step::new("read pipeline", op).after(fetched));
    if let Some(limit) = args.work.timeout {
        plan.timeout(limit);
    }
    plan.finish().map_err(|e| wrong(e.to_string()))
}

/// By what lists find the run.
pub(crate) fn labels(args: &RunArgs, target: &Target, git: &Git) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<_, _> = args.labels.iter().cloned().collect();
    let pipeline = match &args.deploy_target {
        Some(target) => format!("{} {target}", args.pipeline()),
        None => args.pipeline().to_owned(),
    };
    labels.insert("kiln.what".into(), target.what());
    labels.insert(LABEL_APP.into(), app(target, git));
    labels.insert(LABEL_PIPELINE.into(), pipeline);
    labels
}
