//! What a step does. A closed set: new *places* are adapters, a new *verb* is a decision.

use super::{CacheKey, SourceSpec};
use crate::{
    BoxName, RelPath, SessionName, StepId,
    image::ImageRef,
    secret::{SecretRef, Value},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// What one step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Brings source code into the workspace; its output is the revision.
    Fetch {
        /// What to fetch.
        source: SourceSpec,
        /// The directory of the workspace that receives it.
        #[serde(default)]
        into: RelPath,
    },
    /// Turns a recipe into an image; its output is the image.
    Build(BuildSpec),
    /// Runs a command in a box of the plan; the box is started when first needed.
    Exec {
        /// A box of [`Plan::boxes`](crate::Plan::boxes).
        in_box: BoxName,
        /// What to run.
        command: Command,
    },
    /// Turns a container into an image; its output is the image.
    Commit {
        /// The container.
        container: ContainerRef,
        /// What to make of it.
        #[serde(flatten)]
        spec: CommitSpec,
    },
    /// Sends an image to a registry; its output is the digest the registry gave.
    Push {
        /// The image.
        image: ImageFrom,
        /// Where to.
        to: ImageRef,
        /// Credentials for this push alone; without it the adapter uses what the host is logged in with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials: Option<SecretRef>,
    },
    /// Looks for known vulnerabilities; its output is the report.
    Scan {
        /// The image.
        image: ImageFrom,
        /// The step fails if the report has a finding of this severity or worse.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gate: Option<Severity>,
    },
    /// Makes an image usable in a place that is not a registry, such as a cloud.
    Publish {
        /// The image.
        image: ImageFrom,
        /// Where to.
        target: Target,
    },
    /// Keeps a file of the workspace as an artifact.
    Upload {
        /// The file.
        path: RelPath,
        /// Its name among the artifacts of the build.
        #[serde(rename = "artifact")]
        name: RelPath,
    },
    /// Asks a planner what follows; its output is a plan, which becomes part of the build's own.
    ///
    /// [`Plan::extend`](crate::Plan::extend) says how. A retry of the build asks again.
    Plan {
        /// Which planner, such as `wercker`.
        planner: String,
        /// The directory of the workspace, or the file in it, that the planner reads.
        #[serde(default)]
        path: RelPath,
        /// What only the planner understands.
        #[serde(default)]
        settings: serde_json::Value,
    },
    /// Keeps a file or directory of a box as an artifact: a tar archive.
    Collect {
        /// The box.
        in_box: BoxName,
        /// Absolute paths in the box; the first one counts that is there and not empty.
        paths: Vec<String>,
        /// The name of the archive among the artifacts of the build.
        #[serde(rename = "artifact")]
        name: RelPath,
        /// How many bytes the archive may have; with more of them the step fails.
        bytes_max: u64,
        /// Whether it is no failure that none of the paths is there.
        #[serde(default)]
        optional: bool,
    },
    /// Puts a cache into a box; where nothing is kept, nothing is put there.
    Restore {
        /// The cache.
        cache: CacheKey,
        /// The box.
        in_box: BoxName,
        /// The directory that receives it: an absolute path in the box.
        path: String,
        /// How many bytes the cache may have; with more of them nothing of it is put there.
        bytes_max: u64,
    },
    /// Keeps a directory of a box as a cache, in place of what the cache held before.
    Save {
        /// The cache.
        cache: CacheKey,
        /// The box.
        in_box: BoxName,
        /// The directory: an absolute path in the box.
        path: String,
        /// How many bytes the cache may have; with more the step fails, and what was kept stays.
        bytes_max: u64,
    },
}

/// How to build an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSpec {
    /// What to follow.
    pub recipe: Recipe,
    /// The files it may use.
    #[serde(default)]
    pub context: Context,
    /// The names the image gets on the host that builds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<ImageRef>,
    /// Build arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Value>,
    /// Labels of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at; the last one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether to build every instruction anew.
    #[serde(default)]
    pub no_cache: bool,
    /// Whether to ask the registry for newer base images.
    #[serde(default)]
    pub pull: bool,
    /// The platform, such as `linux/arm64`; the engine's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Credentials for private base images, by registry host; the host's own logins without it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<String, SecretRef>,
    /// Secrets that the recipe may read while it runs, by the id it names them with. They are in
    /// no layer and no history; a builder that cannot promise that is `Unsupported`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
}

impl BuildSpec {
    /// A build of a recipe with an empty context and nothing else asked for.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            context: Context::Empty,
            tags: Vec::new(),
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            target: None,
            no_cache: false,
            pull: false,
            platform: None,
            credentials: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Builds with the files of a context.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Lets the recipe read a secret under an id.
    #[must_use]
    pub fn secret(mut self, id: impl Into<String>, secret: SecretRef) -> Self {
        self.secrets.insert(id.into(), secret);
        self
    }

    /// Names the image.
    #[must_use]
    pub fn tag(mut self, image: ImageRef) -> Self {
        self.tags.push(image);
        self
    }
}

/// What a builder follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Recipe {
    /// A Dockerfile in the context, or, with a local directory as context, anywhere on the host.
    Dockerfile {
        /// Relative to the context; `Dockerfile` without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<PathBuf>,
    },
    /// A Dockerfile given as text.
    Inline {
        /// The text.
        text: String,
    },
    /// A recipe that only an embedder's own builder understands.
    Custom {
        /// What the builder looks for in [`Builder::accepts`](crate::port::Builder::accepts).
        name: String,
        /// Its settings.
        #[serde(default)]
        settings: serde_json::Value,
    },
}

/// The files a recipe may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Context {
    /// None.
    #[default]
    Empty,
    /// A directory of the build's workspace, as an earlier fetch filled it.
    Workspace {
        /// The directory.
        #[serde(default)]
        path: RelPath,
    },
    /// A directory of the host. Refused unless the engine allows local paths.
    Directory {
        /// Its absolute path.
        path: PathBuf,
    },
    /// A tar archive on the host, plain or compressed. Refused unless the engine allows local paths.
    Archive {
        /// Its absolute path.
        path: PathBuf,
    },
}

/// A command in a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments; no shell is involved unless it is the program. In a session
    /// the one element is the text that its shell evaluates.
    pub argv: Vec<String>,
    /// Variables on top of the box's own. In a session they stay for the commands after.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Value>,
    /// The working directory; the box's own without it. In a session the shell goes there, and
    /// stays; without it, it is where the command before left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The user, as the runtime writes it; the box's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The shell that evaluates it, which all commands of this session in this box share, one after
    /// the other: what one leaves of variables, functions and options, the next one finds. Without
    /// it the command is a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionName>,
    /// What is to be read when it has ended: absolute paths of files in the box, by the name under
    /// which their text is told. A file that is not there, or is no plain file, tells nothing; of
    /// one longer than [`Command::NOTE_MAX`] its beginning is told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

impl Command {
    /// How many bytes of a file are told as a note.
    pub const NOTE_MAX: usize = 64 << 10;
    /// How many notes a command may have.
    pub const NOTES_MAX: usize = 16;

    /// A program with its arguments.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            session: None,
            notes: BTreeMap::new(),
        }
    }

    /// A script for `/bin/sh`.
    pub fn script(text: impl Into<String>) -> Self {
        Self::new(["/bin/sh".to_owned(), "-c".to_owned(), text.into()])
    }

    /// A text for the shell of a session.
    pub fn in_session(session: SessionName, text: impl Into<String>) -> Self {
        Self { session: Some(session), ..Self::new([text.into()]) }
    }

    /// Tells the text of a file as a note.
    #[must_use]
    pub fn note(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.notes.insert(name.into(), path.into());
        self
    }
}

/// A container to commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerRef {
    /// A box of the plan.
    Box(BoxName),
    /// Any container of the host, by id or name.
    Container(String),
}

/// What to make of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSpec {
    /// The names of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<ImageRef>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark kept with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Dockerfile instructions applied on top, such as `ENV A=1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Whether the container keeps running while it is copied, which may tear files.
    #[serde(default)]
    pub without_pause: bool,
}

/// Which image a step works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageFrom {
    /// The one an earlier step made. That step must be among the needs.
    Step(StepId),
    /// One the host has, by name.
    Reference(ImageRef),
}

/// How bad a finding is, from least to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the field's own words")]
pub enum Severity {
    Unknown,
    Negligible,
    Low,
    Medium,
    High,
    Critical,
}

/// A place that is not a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Which publisher, such as `glance`.
    pub publisher: String,
    /// Which of its places, such as a cloud.
    pub place: String,
    /// What it is to know about the image there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}
