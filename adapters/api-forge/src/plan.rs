//! From a change to what is submitted.

use crate::{
    config::Trigger,
    hook::{Change, Hook},
    template::{Values, label},
};
use kiln::{
    Attempts, BuildSpec, Context, Error, ErrorKind, ImageFrom, ImageRef, Op, Plan, PlanBuilder,
    Recipe, RelPath, Result, SourceSpec, Step, StepId, Value,
};
use std::collections::BTreeMap;

const OP: &str = "hooks";
/// Where source code goes below the workspace.
const SOURCE: &str = "source";

fn checked<T, E: std::fmt::Display>(value: std::result::Result<T, E>) -> Result<T> {
    value.map_err(|e| Error::new(ErrorKind::Invalid, OP, e.to_string()))
}

/// What a build of a change does; a text if there is a reason to build nothing.
pub(crate) fn plan(
    hook: &Hook,
    change: &Change,
) -> Result<std::result::Result<Plan, &'static str>> {
    let branch = branch(change);
    let values = Values {
        branch: branch.as_deref(),
        tag: (change.trigger == Trigger::Tag).then_some(change.name.as_str()),
        commit: &change.commit,
        repo: &change.repo,
    };
    let Some(url) = source(hook, change, &values) else {
        return Ok(Err("the address of the source is on no host that is allowed"));
    };
    if let Some(planner) = &hook.config.build.pipeline {
        return pipeline(hook, change, planner, branch.as_deref(), url).map(Ok);
    }
    let tags: Vec<ImageRef> =
        hook.tags.iter().filter_map(|t| t.fill(&values)).collect::<Result<_>>()?;
    let push = hook.config.build.push && !change.from_fork;
    if push && tags.is_empty() {
        return Ok(Err("there is no name to push the image to"));
    }
    let mut plan = Plan::builder();
    let fetched = fetch(&mut plan, hook, change, url)?;
    let spec = build(hook, &values, tags.clone())?;
    let built = plan.step(Step::build("build", spec).after(fetched).attempts(Attempts::up_to(2)));
    for (i, to) in tags.into_iter().enumerate().filter(|_| push) {
        let name = if i == 0 { "push".to_owned() } else { format!("push-{}", i + 1) };
        let credentials = hook.config.build.push_credentials.clone();
        let op = Op::Push { image: ImageFrom::Step(built), to, credentials };
        plan.step(Step::new(name, op).after(built).attempts(Attempts::up_to(3)));
    }
    checked(plan.finish()).map(Ok)
}

fn fetch(plan: &mut PlanBuilder, hook: &Hook, change: &Change, url: String) -> Result<StepId> {
    // Just that commit, whatever the branch is by then, and never a name that somebody chose.
    let spec = SourceSpec {
        credentials: hook.config.credentials.clone(),
        submodules: hook.config.submodules,
        ..SourceSpec::new(url).reference(change.commit.clone())
    };
    let fetch = Op::Fetch { source: spec, into: checked(RelPath::new(SOURCE))? };
    Ok(plan.step(Step::new("fetch", fetch).attempts(Attempts::up_to(3))))
}

/// A pipeline of a change: its source, and then whatever its file says.
fn pipeline(
    hook: &Hook,
    change: &Change,
    planner: &str,
    branch: Option<&str>,
    url: String,
) -> Result<Plan> {
    let mut settings = hook.config.build.settings.clone();
    if change.from_fork {
        // What anybody can write could tell them.
        for name in WITH_SECRETS {
            settings.remove(name);
        }
        without_secrets(&mut settings);
    }
    settings.entry("version").or_insert_with(|| 1.into());
    let (owner, name) = change.repo.rsplit_once('/').unwrap_or(("", &change.repo));
    let tag = (change.trigger == Trigger::Tag).then_some(change.name.as_str());
    let known = [
        ("owner", Some(owner).filter(|owner| !owner.is_empty())),
        ("repository", Some(name)),
        ("branch", branch),
        ("tag", tag),
        ("commit", Some(change.commit.as_str())),
    ];
    let git = settings.entry("git").or_insert_with(|| serde_json::Map::new().into());
    if let Some(git) = git.as_object_mut() {
        for (key, value) in known {
            if let Some(value) = value {
                git.entry(key).or_insert_with(|| value.into());
            }
        }
    }
    let mut plan = Plan::builder();
    let fetched = fetch(&mut plan, hook, change, url)?;
    let path = match hook.context.as_str() {
        "" => checked(RelPath::new(SOURCE))?,
        below => checked(RelPath::new(format!("{SOURCE}/{below}")))?,
    };
    let op = Op::Plan { planner: planner.to_owned(), path, settings: settings.into() };
    plan.step(Step::new("read pipeline", op).after(fetched));
    checked(plan.finish())
}

/// The settings of a pipeline that a fork is not given: logins, an image that could be pushed, and
/// what is kept for the next run.
const WITH_SECRETS: [&str; 3] = ["logins", "commit", "cache"];

/// Takes every secret out of settings: `{"secret": NAME}`, wherever it is.
fn without_secrets(settings: &mut serde_json::Map<String, serde_json::Value>) {
    let is_secret = |value: &serde_json::Value| value.get("secret").is_some();
    settings.retain(|_, value| !is_secret(value));
    for value in settings.values_mut() {
        if let Some(below) = value.as_object_mut() {
            without_secrets(below);
        }
    }
}

fn build(hook: &Hook, values: &Values<'_>, tags: Vec<ImageRef>) -> Result<BuildSpec> {
    let config = &hook.config.build;
    let path = hook.dockerfile.as_ref().map(|file| file.as_str().into());
    let context = match hook.context.as_str() {
        "" => SOURCE.to_owned(),
        below => format!("{SOURCE}/{below}"),
    };
    let args = config.args.iter().map(|(k, v)| (k.clone(), Value::Text(v.clone()))).collect();
    let label =
        |(k, t): (&String, &crate::template::Template)| Some((k.clone(), t.fill_label(values)?));
    Ok(BuildSpec {
        tags,
        args,
        labels: hook.labels.iter().filter_map(label).collect(),
        target: config.target.clone(),
        ..BuildSpec::new(Recipe::Dockerfile { path })
            .context(Context::Workspace { path: checked(RelPath::new(context))? })
    })
}

/// What `{branch}` stands for. A pull request chooses the name of its branch, so it gets another
/// one: it must not take the place of the branch it is to go to.
fn branch(change: &Change) -> Option<String> {
    match (change.trigger, change.number) {
        (Trigger::PullRequest, Some(number)) => Some(format!("pr-{number}")),
        (Trigger::Push, _) => Some(change.name.clone()),
        _ => None,
    }
}

/// Where the source is: as configured, or as told, if the host is allowed and the path is that of
/// the repository.
fn source(hook: &Hook, change: &Change, values: &Values<'_>) -> Option<String> {
    if let Some(template) = &hook.source {
        return template.fill(values);
    }
    let url = change.clone_url.as_deref()?;
    let odd = |c: char| c.is_control() || c.is_whitespace() || "@\\?#%".contains(c);
    if url.contains(odd) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.split_once('/')?;
    let place = match scheme {
        "https" => host.to_owned(),
        "http" => format!("http://{host}"),
        _ => return None,
    };
    let allowed = hook.config.clone_hosts.iter().any(|h| h.eq_ignore_ascii_case(&place));
    let path = path.strip_suffix(".git").unwrap_or(path);
    let whole = path.eq_ignore_ascii_case(&change.repo);
    let below = path.len() > change.repo.len()
        && path.to_ascii_lowercase().ends_with(&format!("/{}", change.repo.to_ascii_lowercase()));
    let climbs = path.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    (allowed && (whole || below) && !climbs).then(|| url.to_owned())
}

/// The labels of a build, by which notifiers know what it is of.
pub(crate) fn labels(hook: &Hook, change: &Change) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut put = |key: &str, value: &str| labels.insert(format!("kiln.{key}"), label(value));
    put("hook", &hook.name);
    put("repo", &change.repo);
    put("commit", &change.commit);
    match (change.trigger, change.number) {
        (Trigger::Push, _) => put("branch", &change.name),
        (Trigger::Tag, _) => put("tag", &change.name),
        (Trigger::PullRequest, number) => {
            put("base", &change.name);
            put("pull", &number.unwrap_or_default().to_string())
        }
    };
    if change.from_fork {
        put("fork", "true");
    }
    labels
}

/// The group of the builds of one branch, tag or pull request: one runs after the other, the
/// oldest first, so that an older commit never takes the place of a newer one.
pub(crate) fn group(hook: &Hook, change: &Change) -> String {
    let of = match (change.trigger, change.number) {
        (Trigger::PullRequest, Some(number)) => format!("pull/{number}"),
        (Trigger::Tag, _) => format!("tag/{}", change.name),
        _ => format!("branch/{}", change.name),
    };
    label(&format!("hook/{}/{}/{of}", hook.name, change.repo))
}
