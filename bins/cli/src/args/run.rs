//! What can be asked of the commands for `wercker.yml`: `run`, `check`, `detect`, `inspect`.

use super::{
    ProgressKind,
    units::{duration, minutes, pair, size},
};
use clap::{Args, ValueHint};
use std::{path::PathBuf, time::Duration};

const EXAMPLES: &str = "\
Examples:
  kiln run                                     run the pipeline `build` of this directory
  kiln run --pipeline test ../app              another pipeline of another directory
  kiln run https://example.com/app.git#v1      the pipeline of a tag of a repository
  X_LEVEL=3 XXX_TOKEN=secret kiln run          give variables to the steps: LEVEL, and TOKEN in secret
  kiln run --artifacts --commit me/app --push  keep the output, make an image of the box and push it
  kiln run --pipeline deploy                   deploy what the last run of `build` left";

/// Run a pipeline.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// A directory, the address of a git repository (with #reference) or of a tar archive
    #[arg(default_value = ".", value_name = "DIR|URL", value_hint = ValueHint::DirPath)]
    pub(crate) target: String,
    /// The pipeline [default: build]
    #[arg(long, value_name = "NAME", env = "WERCKER_PIPELINE", hide_env = true)]
    pub(crate) pipeline: Option<String>,
    /// The deploy target of the pipeline
    #[arg(long, value_name = "NAME", env = "WERCKER_DEPLOYTARGET_NAME", hide_env = true)]
    pub(crate) deploy_target: Option<String>,
    /// What a deploy works on: the build that kept its output, by its id or the beginning of it
    /// [default for a deploy: the last one that did]
    #[arg(long, value_name = "BUILD")]
    pub(crate) input: Option<String>,
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    #[command(flatten)]
    pub(crate) ends: EndArgs,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    /// A label, by which `kiln builds --label` finds the run
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Do not wait for the end of a run that is with a server
    #[arg(short, long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
}

impl RunArgs {
    /// What `kiln dev` does: the pipeline `dev`, on the directory itself, while somebody watches.
    pub(crate) fn dev(mut self) -> Self {
        self.pipeline.get_or_insert_with(|| "dev".to_owned());
        self.work.dev = true;
        self.work.direct_mount = true;
        self.work.expose_ports = true;
        self
    }

    /// The pipeline that is meant.
    pub(crate) fn pipeline(&self) -> &str {
        self.pipeline.as_deref().unwrap_or("build")
    }
}

/// Where the file is, and what it is given.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FileArgs {
    /// The file, relative to the directory [default: ewok.yml, wercker.yml or .wercker.yml]
    #[arg(
        short,
        long,
        value_name = "FILE",
        alias = "wercker-yml",
        env = "WERCKER_YML_FILE",
        hide_env = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) file: Option<PathBuf>,
    /// What of the directory is left out; the syntax is that of .gitignore
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ignore_file: Option<PathBuf>,
    /// A file of lines NAME=VALUE: those that begin with X_ or XXX_ are given to the steps
    #[arg(
        long,
        value_name = "FILE",
        default_value = "ENVIRONMENT",
        env = "WERCKER_ENVIRONMENT_FILE",
        hide_env = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) environment: PathBuf,
    /// A variable for the steps; without =VALUE it is taken from the environment
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// A variable for the steps that gets into no plan, journal or log: from the environment here,
    /// or the server's secret of that name
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
}

/// What steps are told of the run.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What steps are told")]
pub(crate) struct IdentityArgs {
    /// The id of the run [default: that of the build]
    #[arg(long, value_name = "ID", visible_alias = "build-id", aliases = ["deploy-id"])]
    pub(crate) run_id: Option<String>,
    /// The id of the application
    #[arg(long, value_name = "ID", env = "WERCKER_APPLICATION_ID", hide_env = true)]
    pub(crate) application_id: Option<String>,
    /// The name of the application [default: that of the repository or directory]
    #[arg(long, value_name = "NAME", env = "WERCKER_APPLICATION_NAME", hide_env = true)]
    pub(crate) application_name: Option<String>,
    /// The name of whom the application belongs to
    #[arg(long, value_name = "NAME", env = "WERCKER_APPLICATION_OWNER_NAME", hide_env = true)]
    pub(crate) application_owner_name: Option<String>,
    /// Who starts the run
    #[arg(
        long,
        value_name = "NAME",
        alias = "application-started-by-name",
        env = "WERCKER_STARTED_BY",
        hide_env = true
    )]
    pub(crate) started_by: Option<String>,
    /// Such as github.com
    #[arg(long, value_name = "NAME", env = "WERCKER_GIT_DOMAIN", hide_env = true)]
    pub(crate) git_domain: Option<String>,
    /// The owner of the repository
    #[arg(long, value_name = "NAME", env = "WERCKER_GIT_OWNER", hide_env = true)]
    pub(crate) git_owner: Option<String>,
    /// The name of the repository
    #[arg(long, value_name = "NAME", env = "WERCKER_GIT_REPOSITORY", hide_env = true)]
    pub(crate) git_repository: Option<String>,
    /// The branch
    #[arg(long, value_name = "NAME", env = "WERCKER_GIT_BRANCH", hide_env = true)]
    pub(crate) git_branch: Option<String>,
    /// The tag
    #[arg(long, value_name = "NAME", env = "WERCKER_GIT_TAG", hide_env = true)]
    pub(crate) git_tag: Option<String>,
    /// The id of the commit
    #[arg(long, value_name = "ID", env = "WERCKER_GIT_COMMIT", hide_env = true)]
    pub(crate) git_commit: Option<String>,
}

/// What stays of a run.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What stays")]
pub(crate) struct EndArgs {
    /// Keep the output and the artifacts of the steps: `kiln artifacts` has them
    #[arg(long)]
    pub(crate) artifacts: bool,
    /// Make an image of the box at the end, under this name without a tag
    #[arg(long, value_name = "IMAGE")]
    pub(crate) commit: Option<String>,
    /// One more tag of that image, beside the id, latest, and green or red; may be given several
    /// times; / becomes _
    #[arg(long = "tag", value_name = "TAG", requires = "commit")]
    pub(crate) tags: Vec<String>,
    /// A remark kept with that image
    #[arg(long, value_name = "TEXT", requires = "commit")]
    pub(crate) message: Option<String>,
    /// Push that image under all its tags
    #[arg(long, requires = "commit")]
    pub(crate) push: bool,
    /// Make an image of the box after every step
    #[arg(long)]
    pub(crate) checkpoint: bool,
    /// Neither use nor leave a cache
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// The name of the cache [default: of the repository or directory]
    #[arg(long, value_name = "NAME", conflicts_with = "no_cache")]
    pub(crate) cache_key: Option<String>,
}

/// How steps are found and run.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "How steps run")]
pub(crate) struct WorkArgs {
    /// The address of the registry of steps
    #[arg(long, value_name = "URL", env = "STEPS_REGISTRY", hide_env = true)]
    pub(crate) steps_registry: Option<String>,
    /// Ask the registry again for steps without an exact version
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Minutes that a step may take, where the file says nothing [default: 25]
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    pub(crate) command_timeout: Option<Duration>,
    /// Minutes that a step may be silent, where the file says nothing [default: 5]
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    pub(crate) no_response_timeout: Option<Duration>,
    /// Stop the run after so much time, such as 90s, 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Memory for the box and its services together, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Let the ports of the box be reached from this machine
    #[arg(long)]
    pub(crate) expose_ports: bool,
    /// Let the box have directories of this machine: `volumes` in the file
    #[arg(long)]
    pub(crate) enable_volumes: bool,
    /// Let steps work on the directory itself, in place of a copy
    #[arg(long)]
    pub(crate) direct_mount: bool,
    /// Refuse a directory larger than this, such as 500MB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) context_max: Option<u64>,
    /// Whether somebody watches: `kiln dev`.
    #[arg(skip)]
    pub(crate) dev: bool,
}

/// How a run is shown.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What is shown")]
pub(crate) struct ShownArgs {
    /// Print events and log as JSON, one object a line, the result last
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing but what was made
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not show what steps print, unless they fail
    #[arg(long, alias = "suppress-build-logs")]
    pub(crate) no_logs: bool,
    /// How to show the run
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub(crate) progress: ProgressKind,
}

#[derive(Debug, Default, Args)]
pub(crate) struct CheckArgs {
    /// The file, the directory that has it, or - for standard input
    #[arg(default_value = ".", value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Print the JSON Schema of the file, for editors
    #[arg(long)]
    pub(crate) schema: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct DetectArgs {
    /// The directory
    #[arg(default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Replace the file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Print the file and write nothing
    #[arg(long, conflicts_with = "force")]
    pub(crate) print: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct InspectArgs {
    /// The build, by its id or the beginning of it; the latest that left an image without it
    pub(crate) id: Option<String>,
    /// What to start there, in place of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}
