//! What can be asked of the command.

use crate::{build, doctor, history, home::Home, keep, print};
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use kiln::{Error, ErrorKind, Result};
use std::{path::PathBuf, time::Duration};

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
    /// Where builds, logs and artifacts are kept [default: ~/.local/share/kiln]
    #[arg(long, global = true, value_name = "DIR", env = "KILN_HOME", hide_env_values = true)]
    home: Option<PathBuf>,
    /// The Docker engine, such as unix:///var/run/docker.sock or tcp://host:2376
    #[arg(
        short = 'H',
        long,
        global = true,
        value_name = "ADDRESS",
        env = "DOCKER_HOST",
        hide_env_values = true
    )]
    host: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a directory, a git repository or a Dockerfile
    Build(BuildArgs),
    /// List builds, latest first
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
        dir: Option<PathBuf>,
    },
}

/// How a running build is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressKind {
    /// A screen on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// Plain lines
    Plain,
    /// A screen
    Tty,
}

const BUILD_EXAMPLES: &str = "\
Examples:
  kiln build .                                     build the Dockerfile of this directory
  kiln build -t registry:5000/me/app:1 --push .    and push the image
  kiln build https://example.com/app.git#v1:sub    build a directory of a tag of a repository
  kiln build - < Dockerfile                        build a Dockerfile without any files
  kiln build --build-arg VERSION=3 --target test . stop at a stage, with an argument";

/// Build an image.
#[derive(Debug, ClapArgs)]
#[command(after_help = BUILD_EXAMPLES)]
pub(crate) struct BuildArgs {
    /// A directory, the address of a git repository (with #reference:directory), or - for a
    /// Dockerfile or a tar archive on standard input
    #[arg(default_value = ".", value_name = "PATH|GIT-URL")]
    pub(crate) context: String,
    /// The Dockerfile, relative to the context [default: Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A name of the image; may be given several times
    #[arg(short, long = "tag", value_name = "IMAGE")]
    pub(crate) tags: Vec<String>,
    /// A build argument; without =VALUE it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,
    /// A label of the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// The stage to stop at
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// The platform, such as linux/arm64
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// Push the image under each of its names
    #[arg(long, requires = "tags")]
    pub(crate) push: bool,
    /// Build every instruction anew
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Ask registries for newer base images
    #[arg(long)]
    pub(crate) pull: bool,
    /// Fetch the modules inside a git repository too
    #[arg(long)]
    pub(crate) submodules: bool,
    /// Stop the build after so much time, such as 90s, 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print events and log as JSON, one object a line, the result last
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing but the id of the image
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How to show the build
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub(crate) progress: ProgressKind,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 20)]
    pub(crate) number: usize,
    /// All of them
    #[arg(short, long, conflicts_with = "number")]
    pub(crate) all: bool,
    /// Only those that ended so: succeeded, failed, errored, timed_out or cancelled
    #[arg(long, value_name = "OUTCOME")]
    pub(crate) status: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OneArgs {
    /// The build, by its id or the beginning of it
    pub(crate) id: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogArgs {
    /// The build, by its id or the beginning of it
    pub(crate) id: String,
    /// Go on until the build is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the step of this name
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CancelArgs {
    /// The build, by its id or the beginning of it
    pub(crate) id: String,
    /// Stop after-steps too
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ResumeArgs {
    /// The build, by its id or the beginning of it; all that were interrupted without it
    pub(crate) id: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PruneArgs {
    /// Only builds that finished so long ago, such as 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    /// Keep the latest so many
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) keep: usize,
    /// Only tell what would be forgotten
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a time such as `90s`, `10m`, `2h` or `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number with s, m, h or d, such as 10m".into()),
    };
    let number: u64 =
        number.parse().map_err(|_| "write a number with s, m, h or d, such as 10m")?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".into())
}

impl Args {
    pub(crate) async fn run(self) -> Result<Exit> {
        match self.command {
            Command::Completions { shell } => {
                clap_complete::generate(
                    shell,
                    &mut Self::command(),
                    "kiln",
                    &mut std::io::stdout(),
                );
                return Ok(Exit::Fine);
            }
            Command::Man { dir } => return man(dir),
            _ => {}
        }
        let home = Home::open(self.home, self.host)?;
        match &self.command {
            Command::Build(_) | Command::Resume(_) => {}
            _ => home.tell_of_interrupted().await,
        }
        match self.command {
            Command::Build(args) => {
                home.tell_of_interrupted().await;
                build::build(&home, args).await
            }
            Command::Builds(args) => history::builds(&home, args).await,
            Command::Show(args) => history::show(&home, args).await,
            Command::Logs(args) => history::logs(&home, args).await,
            Command::Cancel(args) => history::cancel(&home, args).await,
            Command::Resume(args) => build::resume(&home, args).await,
            Command::Prune(args) => keep::prune(&home, args).await,
            Command::Doctor(args) => doctor::doctor(&home, args).await,
            Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Fine),
        }
    }
}

fn man(dir: Option<PathBuf>) -> Result<Exit> {
    let wrong = |e: std::io::Error| {
        Error::new(ErrorKind::Unexpected, "kiln man", "the manual cannot be written")
            .source(e.to_string())
    };
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir).map_err(wrong)?;
            clap_mangen::generate_to(Args::command(), &dir).map_err(wrong)?;
            print::note(format!("wrote the manual pages to {}", dir.display()));
        }
        None => {
            clap_mangen::Man::new(Args::command()).render(&mut std::io::stdout()).map_err(wrong)?
        }
    }
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["kiln", "build", "--push"]).is_err());
        assert!(Args::try_parse_from(["kiln", "build", "--json", "--quiet"]).is_err());
    }

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "m", "5x", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
