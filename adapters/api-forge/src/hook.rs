//! A hook whose settings were checked.

use crate::{
    config::{BuildConfig, Forge, HookConfig, Trigger},
    filter::Filter,
    template::{ImageTemplate, Template},
};
use kiln::{Error, ErrorKind, RelPath, Result};
use std::collections::BTreeMap;

/// A hook that requests can come to.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) config: HookConfig,
    pub(crate) filter: Filter,
    pub(crate) source: Option<Template>,
    pub(crate) dockerfile: Option<RelPath>,
    pub(crate) context: RelPath,
    pub(crate) tags: Vec<ImageTemplate>,
    pub(crate) labels: BTreeMap<String, Template>,
}

/// What a forge told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It asks whether we are there.
    Ping,
    /// Nothing that a build is made of.
    Ignored(&'static str),
    /// There is something new.
    Change(Box<Change>),
}

/// Something new in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) trigger: Trigger,
    /// The full name of the repository, `owner/name`; for a pull request of the one it is to go to.
    pub(crate) repo: String,
    /// Where that repository is, as the forge says.
    pub(crate) clone_url: Option<String>,
    /// What is to be built.
    pub(crate) commit: String,
    /// The branch or tag; for a pull request the branch it is to go to.
    pub(crate) name: String,
    /// The number of a pull request.
    pub(crate) number: Option<u64>,
    pub(crate) from_fork: bool,
    /// What changed, if all of it was told.
    pub(crate) paths: Option<Vec<String>>,
}

impl Hook {
    pub(crate) fn new(name: &str, config: HookConfig) -> Result<Self> {
        let wrong = |e: Error| e.with("hook", name);
        let invalid = |message: &str| wrong(Error::new(ErrorKind::Invalid, "hooks", message));
        // The name is part of addresses, of labels and of the ids of builds.
        if kiln::NotifierName::new(name).is_err() {
            return Err(invalid(
                "the name of a hook has 1 to 64 letters, digits, `-`, `_` and `.`",
            ));
        }
        if config.repos.is_empty() {
            return Err(invalid("`repos` is empty: name the repositories that count")
                .hint("Such as `repos = [\"acme/*\"]`."));
        }
        if config.source.is_none() && config.clone_hosts.is_empty() {
            return Err(invalid("it is not said where the source is")
                .hint("Set `source`, or `clone_hosts` to trust the forge with the address."));
        }
        let build = &config.build;
        if build.push && build.tags.is_empty() {
            return Err(invalid("`build.push` needs `build.tags` to push to"));
        }
        if build.pipeline.is_some() && is_of_dockerfile(build) {
            return Err(invalid("with `build.pipeline` there is no Dockerfile to say more about")
                .hint("What the pipeline is told goes into `build.settings`."));
        }
        if build.pipeline.is_none() && !build.settings.is_empty() {
            return Err(invalid("`build.settings` is for a `build.pipeline`, and there is none"));
        }
        let source = config.source.as_deref().map(source).transpose().map_err(wrong)?;
        let path = |path: &str| RelPath::new(path).map_err(|e| invalid(&e.to_string()));
        let dockerfile = build.dockerfile.as_deref().map(path).transpose()?;
        let context = path(build.context.as_deref().unwrap_or(""))?;
        let tags = build.tags.iter().map(|t| ImageTemplate::new(t));
        let tags = tags.collect::<Result<_>>().map_err(wrong)?;
        let label = |(k, v): (&String, &String)| Ok((k.clone(), Template::new(v)?));
        let labels = build.labels.iter().map(label).collect::<Result<_>>().map_err(wrong)?;
        let filter = Filter::new(&config);
        Ok(Self { name: name.into(), config, filter, source, dockerfile, context, tags, labels })
    }

    /// What the forge says the request is about; `Err` if it is about nothing a forge sends.
    pub(crate) fn hear(&self, event: &str, body: &[u8]) -> serde_json::Result<Heard> {
        match self.config.forge {
            Forge::GitHub => crate::forge::github(event, body),
            Forge::GitLab => crate::forge::gitlab(event, body),
            Forge::Gitea => crate::forge::gitea(event, body),
        }
    }
}

/// Whether something is said that only a build of a Dockerfile has a use for.
fn is_of_dockerfile(build: &BuildConfig) -> bool {
    let settings = build.settings.clone();
    let (pipeline, context) = (build.pipeline.clone(), build.context.clone());
    *build != BuildConfig { pipeline, context, settings, ..BuildConfig::default() }
}

/// The host stands before the first placeholder, so that no name of a repository is part of it.
fn source(text: &str) -> Result<Template> {
    let template = Template::new(text)?;
    template.only_repo()?;
    let hole = text.find('{').unwrap_or(text.len());
    let host =
        text.find("://").map_or(text.find(':'), |at| text[at + 3..].find('/').map(|i| i + at + 3));
    if host.is_none_or(|host| host >= hole) {
        let message = "the address of a source has its host before the first placeholder";
        return Err(Error::new(ErrorKind::Invalid, "hooks", message).with("source", text));
    }
    Ok(template)
}
