//! What an operator says of a hook.

use kiln::{Owner, SecretRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Forge {
    #[serde(rename = "github")]
    GitHub,
    #[serde(rename = "gitlab")]
    GitLab,
    /// Gitea, and Forgejo too.
    Gitea,
}

/// What starts a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Commits came to a branch.
    Push,
    /// A tag was made or moved.
    Tag,
    /// A pull or merge request was opened, or its commits changed.
    PullRequest,
}

/// One hook: `[hooks.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookConfig {
    /// Who sends.
    pub forge: Forge,
    /// The name of the secret that the forge signs with, among those of the owner.
    pub secret: SecretRef,
    /// Whose the builds are, and the secrets.
    #[serde(default = "Owner::local")]
    pub owner: Owner,
    /// Patterns of the repositories that count, such as `acme/*`. Whoever knows the secret can
    /// claim to be any repository, so this is what keeps one from starting builds of another.
    pub repos: Vec<String>,
    /// What starts a build.
    #[serde(default = "triggers")]
    pub on: Vec<Trigger>,
    /// Patterns of the branches that count, for a pull request of the branch it is to go to; all
    /// without it.
    #[serde(default)]
    pub branches: Vec<String>,
    /// Patterns of the tags that count; all without it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Patterns of paths: of a push that changed none of them nothing is built. A push whose
    /// changes are not all told counts.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Whether pull requests from forks count. Anybody can open one, and what it says is run.
    #[serde(default)]
    pub forks: bool,
    /// Where the source is, with `{repo}` for the name of the repository. Without it, the address
    /// that the forge tells, if its host is one of `clone_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The hosts that an address told by the forge may have, with their port where it has one.
    #[serde(default)]
    pub clone_hosts: Vec<String>,
    /// The secret with which the source is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
    /// Whether the modules inside the source are fetched too.
    #[serde(default)]
    pub submodules: bool,
    /// Of one owner's builds the highest goes first.
    #[serde(default)]
    pub priority: i32,
    /// What is built.
    #[serde(default)]
    pub build: BuildConfig,
}

/// What a hook builds. Texts with placeholders may say `{branch}`, `{tag}`, `{commit}`, `{short}`
/// and `{repo}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildConfig {
    /// The Dockerfile, below the context; `Dockerfile` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The directory of the repository that is the context; all of it without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The stage to build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Arguments, just as they are.
    pub args: BTreeMap<String, String>,
    /// Names of the image, with placeholders: `{repo}` in the name, the others in the tag. One
    /// with a placeholder that the event has nothing for is left out.
    pub tags: Vec<String>,
    /// Labels of the image, with placeholders.
    pub labels: BTreeMap<String, String>,
    /// Whether the image is pushed under all its names. What comes from a fork never is.
    pub push: bool,
    /// The secret to push with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_credentials: Option<SecretRef>,
    /// Which kind of file describes a pipeline, such as `wercker`, in place of a Dockerfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// What the pipeline is told beside its file. What comes from a fork is told no secret.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

fn triggers() -> Vec<Trigger> {
    vec![Trigger::Push, Trigger::Tag]
}
