//! The commands and flags of the original, as `kiln wercker` takes them.

use super::{ArtifactArgs, CheckArgs, DetectArgs, InspectArgs, LoginArgs, RunArgs};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct WerckerArgs {
    #[command(flatten)]
    pub(crate) old: OldArgs,
    #[command(subcommand)]
    pub(crate) command: WerckerCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WerckerCommand {
    /// Run the pipeline `build`, as `kiln run`
    #[command(alias = "b")]
    Build(Box<RunArgs>),
    /// Run the pipeline `deploy` with the output of the last run
    #[command(alias = "d")]
    Deploy(Box<RunArgs>),
    /// Run the pipeline `dev` on the directory itself
    Dev(Box<RunArgs>),
    /// Check a wercker.yml, as `kiln check`
    CheckConfig(CheckArgs),
    /// Write a first wercker.yml, as `kiln detect`
    #[command(alias = "de")]
    Detect(DetectArgs),
    /// Start a shell in the image that a run left, as `kiln inspect`
    #[command(alias = "i")]
    Inspect(InspectArgs),
    /// Keep a token for a server, as `kiln login`
    #[command(alias = "l")]
    Login(LoginArgs),
    /// Forget the token for a server, as `kiln logout`
    Logout(LoginArgs),
    /// Take the output of a run, as `kiln artifacts ID output.tar`
    #[command(alias = "p")]
    Pull(PullArgs),
    /// Print the version
    #[command(alias = "v")]
    Version(VersionArgs),
    /// Print the manual page, as `kiln man`
    Doc,
    /// Not there: the step `internal/publish-step` publishes steps
    #[command(alias = "s")]
    Step(RestArgs),
    /// Not there: use `docker` itself
    Docker(RestArgs),
    /// Not there: `kiln run --pipeline` runs one pipeline after the other
    #[command(alias = "w")]
    Workflow(RestArgs),
    /// Not there: use `kiln-server` and `kiln-agent`
    Runner(RestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The build, by its id or the beginning of it
    id: String,
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = "./repository.tar")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl PullArgs {
    /// What that is to `kiln artifacts`.
    pub(crate) fn artifact(self, name: &str) -> ArtifactArgs {
        let Self { id, output, json } = self;
        ArtifactArgs { id, name: Some(name.into()), output: Some(output), json }
    }

    pub(crate) fn json(&self) -> bool {
        self.json
    }
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Nothing: no newer version is looked for
    #[arg(long)]
    no_update_check: bool,
    /// Nothing: there is one version
    #[arg(long)]
    beta: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// What became of a flag of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is taken, and why it changes nothing is told.
    Noted(&'static str),
    /// It is refused, and what does it now is told.
    Refused(&'static str),
}
use Fate::{Noted, Refused};

/// A flag of the original: its name, whether it has a value, and what became of it.
type Old = (&'static str, bool, Fate);

const STORE: Fate = Refused("a server keeps artifacts in S3: `artifacts.url` of its settings");
const LIMITS: Fate = Noted("only --memory limits a run");
const PLACES: Fate = Refused("`base-path` of a pipeline says where it works");
const REPORT: Fate = Refused("a server tells others: `notify` of its settings");
const ENGINE: Fate = Refused("the engine is that of DOCKER_HOST, or of --host");
const OWN: Fate = Noted("builds are kept where --home or KILN_HOME says");
const SITE: Fate = Noted("there is no such site; `kiln login` is for a server");

/// All flags of the original that `kiln run` does not know itself.
pub(crate) const OLD: &[Old] = &[
    ("verbose", false, Noted("`kiln logs` has everything")),
    ("debug", false, Noted("`kiln logs` and `kiln show` have everything")),
    ("no-colors", false, Refused("set NO_COLOR")),
    ("log-json", false, Refused("use --json")),
    ("base-url", true, SITE),
    ("auth-token", true, Refused("use KILN_TOKEN, --token-file or `kiln login`")),
    ("auth-token-store", true, SITE),
    ("working-dir", true, OWN),
    ("local-file-store", true, OWN),
    ("mnt-root", true, PLACES),
    ("guest-root", true, PLACES),
    ("report-root", true, PLACES),
    ("docker-host", true, ENGINE),
    ("docker-tls-verify", true, Refused("set DOCKER_TLS_VERIFY")),
    ("docker-cert-path", true, Refused("set DOCKER_CERT_PATH")),
    ("docker-dns", true, Refused("the engine's own settings have `dns`")),
    ("docker-local", false, Noted("an image that is there is not pulled")),
    ("docker-memory", true, Refused("use --memory, with a unit: --memory 512MiB")),
    ("docker-memory-swap", true, LIMITS),
    ("docker-memory-reservation", true, LIMITS),
    ("docker-kernel-memory", true, LIMITS),
    ("docker-cpu-period", true, LIMITS),
    ("docker-cpu-quota", true, LIMITS),
    ("docker-cleanup-image", false, Noted("images that a run makes on its way are swept")),
    ("docker-network", true, Refused("every run has a network of its own")),
    ("rdd-service-uri", true, Refused("a server with agents runs pipelines elsewhere: --server")),
    ("rdd-provision-timeout", true, Noted("nothing is provisioned")),
    ("store-s3", false, STORE),
    ("store-oci", false, STORE),
    ("aws-secret-key", true, STORE),
    ("aws-access-key", true, STORE),
    ("s3-bucket", true, STORE),
    ("aws-region", true, STORE),
    ("no-remove", false, Refused("use --commit or --checkpoint, and then `kiln inspect`")),
    ("publish", true, Refused("name `ports` in the file, and use --expose-ports")),
    ("attach-on-error", false, Refused("use --checkpoint, and then `kiln inspect`")),
    ("enable-dev-steps", false, Noted("steps of this machine are allowed, unless a server runs")),
    ("workflows-in-yml", false, Noted("workflows are read with the file")),
    ("source-dir", true, Refused("`source-dir` of the file says where steps begin")),
    ("report", false, REPORT),
    ("wercker-host", true, REPORT),
    ("wercker-token", true, REPORT),
];

/// The flags of the original that were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct OldArgs(Vec<&'static Old>);

impl OldArgs {
    /// Those that were given, with what became of them.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, Fate)> {
        self.0.iter().map(|(name, _, fate)| (*name, *fate))
    }
}

impl FromArgMatches for OldArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |old: &&Old| match old.1 {
            true => matches.contains_id(old.0),
            false => matches.get_flag(old.0),
        };
        Ok(Self(OLD.iter().filter(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for OldArgs {
    fn augment_args(command: Command) -> Command {
        OLD.iter().fold(command, |command, (name, has_value, fate)| {
            let (Noted(help) | Refused(help)) = *fate;
            let action = if *has_value { ArgAction::Set } else { ArgAction::SetTrue };
            let arg = Arg::new(*name).long(*name).action(action).global(true).help(help);
            command.arg(arg.hide_short_help(true).help_heading("Flags of the original"))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        args: WerckerArgs,
    }

    fn read(args: &[&str]) -> WerckerArgs {
        Whole::try_parse_from([&["wercker"], args].concat()).map(|whole| whole.args).unwrap()
    }

    #[test]
    fn flags_of_the_original_are_known_before_and_after_its_commands() {
        let args = read(&["--verbose", "build", "--store-s3", "--docker-dns", "1.1.1.1", "app"]);
        let given: Vec<_> = args.old.given().map(|(name, _)| name).collect();
        assert_eq!(given, ["verbose", "docker-dns", "store-s3"]);
        let WerckerCommand::Build(run) = args.command else { panic!("{:?}", args.command) };
        assert_eq!((run.target.as_str(), run.pipeline.as_deref()), ("app", None));
        let words =
            ["deploy", "--deploy-target", "web", "--git-branch", "x", "--wercker-yml", "a.yml"];
        let WerckerCommand::Deploy(run) = read(&words).command else { panic!("{words:?}") };
        assert_eq!(run.deploy_target.as_deref(), Some("web"));
        assert_eq!(run.identity.git_branch.as_deref(), Some("x"));
        assert_eq!(run.file.file, Some("a.yml".into()));
        let words =
            ["build", "--build-id", "7", "--suppress-build-logs", "--command-timeout", "1.5"];
        let WerckerCommand::Build(run) = read(&words).command else { panic!("{words:?}") };
        assert!(run.shown.no_logs && run.identity.run_id.as_deref() == Some("7"));
    }

    #[test]
    fn a_flag_is_one_of_the_original_or_our_own() {
        let mut names: Vec<_> = OLD.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]));
        let run = RunArgs::augment_args(Command::new("run"));
        let own = |name: &&str| run.get_arguments().any(|arg| arg.get_long() == Some(*name));
        assert!(!names.iter().any(own), "{names:?}");
    }
}
