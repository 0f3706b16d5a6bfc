//! What can be asked of the command.

mod build;
mod history;
mod run;
mod server;
mod units;
mod wercker;

pub(crate) use build::{BuildArgs, ProgressKind};
pub(crate) use history::{
    CancelArgs, JsonArgs, ListArgs, LogArgs, OneArgs, PruneArgs, ResumeArgs, StatusKind,
};
pub(crate) use run::{CheckArgs, DetectArgs, InspectArgs, RunArgs};
pub(crate) use server::{
    ArtifactArgs, LoginArgs, NodeArgs, NodeCommand, RetryArgs, ServerArgs, TokenArgs, TokenCommand,
};
pub(crate) use units::now;
pub(crate) use wercker::{Fate, OldArgs, VersionArgs, WerckerArgs, WerckerCommand};

use crate::{
    artifacts, backend::Backend, build as building, builds, cancel, doctor, home::Home, login,
    logs, manual, nodes, print, prune, remote::Server, retry, run as pipelines, show, tokens,
};
use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use kiln::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Fine = 0,
    Failed = 1,
    Usage = 2,
    Errored = 3,
    Cancelled = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Turns git repositories, Dockerfiles and pipelines into published images.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 the build failed, 2 wrong use, 3 an error of this side, 130 cancelled."
)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where builds are kept, which engine builds, and which server instead.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Place {
    /// Where builds, logs and artifacts are kept [default: ~/.local/share/kiln]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "KILN_HOME",
        hide_env_values = true,
        value_hint = ValueHint::DirPath
    )]
    pub(crate) home: Option<PathBuf>,
    /// The Docker engine, such as unix:///var/run/docker.sock or tcp://host:2376
    #[arg(
        short = 'H',
        long,
        global = true,
        value_name = "ADDRESS",
        env = "DOCKER_HOST",
        hide_env_values = true
    )]
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a directory, a git repository or a Dockerfile
    Build(BuildArgs),
    /// Run a pipeline of wercker.yml
    Run(Box<RunArgs>),
    /// Run the pipeline `dev` on the directory itself, with its ports, until Ctrl-C
    Dev(Box<RunArgs>),
    /// Check a wercker.yml
    Check(CheckArgs),
    /// Write a first wercker.yml
    Detect(DetectArgs),
    /// Start a shell in the image that a run left of its box
    Inspect(InspectArgs),
    /// The commands and flags of the original for wercker.yml
    Wercker(Box<WerckerArgs>),
    /// List builds, latest first
    #[command(visible_alias = "list")]
    Builds(ListArgs),
    /// Tell all there is to tell of a build
    Show(OneArgs),
    /// Print the log of a build
    Logs(LogArgs),
    /// Ask a running build to stop
    Cancel(CancelArgs),
    /// Go on with builds that were interrupted
    Resume(ResumeArgs),
    /// Forget old builds and sweep what dead ones left
    Prune(PruneArgs),
    /// Do a build once more, on a server
    Retry(RetryArgs),
    /// List the artifacts of a build, or take one
    Artifacts(ArtifactArgs),
    /// Keep a token for a server
    Login(LoginArgs),
    /// Forget the token for a server
    Logout(LoginArgs),
    /// List the nodes of a server, drain or remove them
    Nodes(NodeArgs),
    /// List the tokens of a server, make or remove them
    Tokens(TokenArgs),
    /// Check whether this machine, or a server, is ready to build
    Doctor(JsonArgs),
    /// Print the version
    #[command(hide = true)]
    Version(VersionArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them into a directory
    Man {
        /// Where to
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

impl Args {
    /// Whether the command is to speak JSON.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Command::Build(args) => args.json,
            Command::Run(args) | Command::Dev(args) => args.shown.json,
            Command::Check(args) => args.json,
            Command::Version(args) => args.json,
            Command::Wercker(args) => args.command.json(),
            Command::Detect(args) => args.json,
            Command::Builds(args) => args.json,
            Command::Show(args) => args.json,
            Command::Logs(args) => args.json,
            Command::Cancel(args) => args.json,
            Command::Resume(args) => args.json,
            Command::Prune(args) => args.json,
            Command::Retry(args) => args.json,
            Command::Artifacts(args) => args.json,
            Command::Nodes(args) => args.json,
            Command::Tokens(args) => args.json,
            Command::Login(args) | Command::Logout(args) => args.json,
            Command::Doctor(args) => args.json,
            Command::Inspect(_) | Command::Completions { .. } | Command::Man { .. } => false,
        }
    }

    /// Does what was asked.
    pub(crate) async fn run(self) -> Result<Exit> {
        let Self { place, command } = self;
        let command = match command {
            Command::Wercker(args) => args.today()?,
            Command::Dev(args) => Command::Run(Box::new(args.dev())),
            command => command,
        };
        match command {
            Command::Completions { shell } => Ok(manual::completions(Self::command(), shell)),
            Command::Man { dir } => manual::man(Self::command(), dir),
            Command::Version(args) => Ok(pipelines::wercker::version(&args)),
            Command::Check(args) => pipelines::check(&args),
            Command::Detect(args) => pipelines::detect(&args),
            Command::Login(args) => login::login(&place.server, args).await,
            Command::Logout(args) => login::logout(&place.server, &args),
            command => match Server::of(&place.server)? {
                Some(server) => command.there(server).await,
                None => command.here(&place).await,
            },
        }
    }
}

impl Command {
    /// Does what was asked on this machine.
    async fn here(self, place: &Place) -> Result<Exit> {
        match self {
            // It tells what is wrong with the data directory too.
            Self::Doctor(args) => doctor::doctor(place, &args).await,
            Self::Build(args) => {
                let home = Home::open_to_build(place, args.context_max, None)?;
                home.tell_of_interrupted().await;
                home.tidy_caches().await;
                building::build(&home, args).await
            }
            Self::Run(args) => {
                let registry = args.work.steps_registry.as_deref();
                let home = Home::open_to_build(place, args.work.context_max, registry)?;
                home.tell_of_interrupted().await;
                home.tidy_caches().await;
                pipelines::run(&home, *args).await
            }
            Self::Resume(args) => {
                building::resume(&Home::open_to_build(place, None, None)?, args).await
            }
            Self::Prune(args) => {
                let home = Home::open(place)?;
                home.tell_of_interrupted().await;
                prune::prune(&home, args).await
            }
            Self::Retry(_) => Err(needs_server("retry")),
            Self::Inspect(args) => {
                let home = Home::open(place)?;
                pipelines::inspect(&home, place.host.as_deref(), args).await
            }
            Self::Nodes(_) => Err(needs_server("nodes")),
            Self::Tokens(_) => Err(needs_server("tokens")),
            other => {
                let home = Home::open(place)?;
                home.tell_of_interrupted().await;
                other.look(&Backend::Here(home)).await
            }
        }
    }

    /// Does what was asked with a server.
    async fn there(self, server: Server) -> Result<Exit> {
        match self {
            Self::Doctor(args) => doctor::server(&server, &args).await,
            Self::Build(args) => building::build_there(&server, args).await,
            Self::Run(args) => pipelines::run_there(&server, *args).await,
            Self::Retry(args) => retry::retry(server, args).await,
            Self::Nodes(args) => nodes::nodes(&server, args).await,
            Self::Tokens(args) => tokens::tokens(&server, args).await,
            Self::Resume(args) => {
                if !args.json {
                    print::note("a server goes on with its builds by itself");
                }
                Ok(Exit::Fine)
            }
            Self::Inspect(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "kiln inspect",
                "the boxes of a server are not on this machine",
            )
            .hint("Pull the image that the run pushed, and start a container of it.")),
            Self::Prune(_) => {
                let message = "a server forgets builds by its own rules";
                Err(Error::new(ErrorKind::Unsupported, "kiln prune", message)
                    .hint("Whoever runs it sets how long builds are kept."))
            }
            other => other.look(&Backend::There(server)).await,
        }
    }

    /// Does what needs no build to run in this process.
    async fn look(self, from: &Backend) -> Result<Exit> {
        match self {
            Self::Builds(args) => builds::builds(from, args).await,
            Self::Show(args) => show::show(from, args).await,
            Self::Logs(args) => logs::logs(from, args).await,
            Self::Cancel(args) => cancel::cancel(from, args).await,
            Self::Artifacts(args) => artifacts::artifacts(from, args).await,
            // Done already, by who calls this.
            _ => Ok(Exit::Fine),
        }
    }
}

impl WerckerArgs {
    /// The command that does what one of the original did.
    fn today(self) -> Result<Command> {
        let Self { old, command } = self;
        pipelines::wercker::note_old(&old, command.json())?;
        let run = |pipeline, args| Command::Run(Box::new(pipelines::wercker::of(pipeline, args)));
        let gone = |name, instead| Err(pipelines::wercker::not_there(name, instead));
        Ok(match command {
            WerckerCommand::Build(args) => run("build", *args),
            WerckerCommand::Deploy(args) => run("deploy", *args),
            WerckerCommand::Dev(args) => Command::Run(Box::new(args.dev())),
            WerckerCommand::CheckConfig(args) => Command::Check(args),
            WerckerCommand::Detect(args) => Command::Detect(args),
            WerckerCommand::Inspect(args) => Command::Inspect(args),
            WerckerCommand::Login(args) => Command::Login(args),
            WerckerCommand::Logout(args) => Command::Logout(args),
            WerckerCommand::Pull(args) => {
                Command::Artifacts(args.artifact(kiln_wercker::plan::OUTPUT))
            }
            WerckerCommand::Version(args) => Command::Version(args),
            WerckerCommand::Doc => Command::Man { dir: None },
            WerckerCommand::Step(_) => {
                return gone(
                    "step",
                    "The step `internal/publish-step` of a pipeline publishes steps.",
                );
            }
            WerckerCommand::Docker(_) => return gone("docker", "Use `docker` itself."),
            WerckerCommand::Workflow(_) => {
                let instead =
                    "Run its pipelines with `kiln run --pipeline NAME`, one after the other.";
                return gone("workflow", instead);
            }
            WerckerCommand::Runner(_) => {
                return gone(
                    "runner",
                    "Use `kiln-server`, and `kiln-agent` on machines that build.",
                );
            }
        })
    }
}

impl WerckerCommand {
    /// Whether the command is to speak JSON.
    fn json(&self) -> bool {
        match self {
            Self::Build(args) | Self::Deploy(args) | Self::Dev(args) => args.shown.json,
            Self::CheckConfig(args) => args.json,
            Self::Detect(args) => args.json,
            Self::Login(args) | Self::Logout(args) => args.json,
            Self::Pull(args) => args.json(),
            Self::Version(args) => args.json,
            _ => false,
        }
    }
}

/// What only a server has.
fn needs_server(command: &str) -> Error {
    let message = format!("`kiln {command}` asks a server, and none is named");
    Error::new(ErrorKind::Invalid, "kiln", message).hint("Name one with --server or KILN_SERVER.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["kiln", "build", "--push"]).is_err());
        assert!(Args::try_parse_from(["kiln", "build", "--json", "--quiet"]).is_err());
        assert!(Args::try_parse_from(["kiln", "prune", "--all", "--keep", "3"]).is_err());
    }
}
