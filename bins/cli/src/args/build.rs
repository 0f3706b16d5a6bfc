//! What can be asked of `kiln build`.

use super::units::{duration, pair, size};
use clap::{Args, ValueEnum, ValueHint};
use std::{path::PathBuf, time::Duration};

/// How a running build is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressKind {
    /// A screen on a terminal, plain lines elsewhere, with CI set or with TERM=dumb
    #[default]
    Auto,
    /// Plain lines
    Plain,
    /// A screen
    Tty,
}

const EXAMPLES: &str = "\
Examples:
  kiln build .                                     build the Dockerfile of this directory
  kiln build -t registry:5000/me/app:1 --push .    and push the image
  kiln build https://example.com/app.git#v1:sub    build a directory of a tag of a repository
  kiln build - < Dockerfile                        build a Dockerfile without any files
  kiln build -f - . < Dockerfile                   build a Dockerfile with the files of this directory
  kiln build --secret id=npm,src=$HOME/.npmrc .    give a secret to RUN --mount=type=secret,id=npm
  kiln build --build-arg VERSION=3 --target test . stop at a stage, with an argument";

/// Build an image.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BuildArgs {
    /// A directory, the address of a git repository (with #reference:directory) or of a tar archive,
    /// or - for a Dockerfile or a tar archive on standard input
    #[arg(default_value = ".", value_name = "PATH|URL", value_hint = ValueHint::DirPath)]
    pub(crate) context: String,
    /// The Dockerfile, relative to the context, or - for standard input [default: Dockerfile]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// A name of the image; may be given several times
    #[arg(short, long = "tag", value_name = "IMAGE")]
    pub(crate) tags: Vec<String>,
    /// A build argument; without =VALUE it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,
    /// A secret for RUN --mount=type=secret,id=NAME: from a file, or from the environment variable
    /// VARIABLE, or else NAME; it gets into no image, journal or log
    #[arg(long = "secret", value_name = "id=NAME[,src=FILE|,env=VARIABLE]")]
    pub(crate) secrets: Vec<String>,
    /// A label of the image, by which `kiln builds --label` finds the build too
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
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
    /// Refuse a context larger than this, such as 500MB, before anything is sent
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) context_max: Option<u64>,
    /// Do not wait for the end of a build that is with a server
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Print events and log as JSON, one object a line, the result last
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing but the digest of what was pushed, or the id of the image
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How to show the build
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub(crate) progress: ProgressKind,
}
