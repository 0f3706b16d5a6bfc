//! What can be asked of the command.

mod build;
mod history;
mod units;

pub(crate) use build::{BuildArgs, ProgressKind};
pub(crate) use history::{
    CancelArgs, JsonArgs, ListArgs, LogArgs, OneArgs, PruneArgs, ResumeArgs, StatusKind,
};
pub(crate) use units::now;

use crate::{build as building, builds, cancel, doctor, home::Home, logs, manual, prune, show};
use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use kiln::Result;
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

/// Turns git repositories and Dockerfiles into published images.
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

/// Where builds are kept and which engine builds.
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
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a directory, a git repository or a Dockerfile
    Build(BuildArgs),
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
    /// Check whether this machine is ready to build
    Doctor(JsonArgs),
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
            Command::Builds(args) => args.json,
            Command::Show(args) => args.json,
            Command::Logs(args) => args.json,
            Command::Cancel(args) => args.json,
            Command::Resume(args) => args.json,
            Command::Prune(args) => args.json,
            Command::Doctor(args) => args.json,
            Command::Completions { .. } | Command::Man { .. } => false,
        }
    }

    /// Does what was asked.
    pub(crate) async fn run(self) -> Result<Exit> {
        match self.command {
            Command::Completions { shell } => Ok(manual::completions(Self::command(), shell)),
            Command::Man { dir } => manual::man(Self::command(), dir),
            // It tells what is wrong with the data directory too.
            Command::Doctor(args) => doctor::doctor(&self.place, &args).await,
            Command::Build(args) => {
                let home = Home::open_to_build(&self.place, args.context_max)?;
                home.tell_of_interrupted().await;
                building::build(&home, args).await
            }
            Command::Resume(args) => {
                building::resume(&Home::open_to_build(&self.place, None)?, args).await
            }
            other => {
                let home = Home::open(&self.place)?;
                home.tell_of_interrupted().await;
                other.look(&home).await
            }
        }
    }
}

impl Command {
    /// Does what needs no build to run in this process.
    async fn look(self, home: &Home) -> Result<Exit> {
        match self {
            Self::Builds(args) => builds::builds(home, args).await,
            Self::Show(args) => show::show(home, args).await,
            Self::Logs(args) => logs::logs(home, args).await,
            Self::Cancel(args) => cancel::cancel(home, args).await,
            Self::Prune(args) => prune::prune(home, args).await,
            // Done already, by who calls this.
            _ => Ok(Exit::Fine),
        }
    }
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
