//! What can be asked of the commands that look back, and of those that keep order.

use super::units::{duration, pair, since};
use clap::{Args, ValueEnum};
use kiln::Timestamp;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where a build stands, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum StatusKind {
    Queued,
    Running,
    Stopping,
    /// Not finished, and no process drives it
    Interrupted,
    Succeeded,
    Failed,
    Errored,
    TimedOut,
    Cancelled,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How many at most
    #[arg(short = 'n', long, alias = "number", default_value_t = 20, value_name = "NUMBER")]
    pub(crate) limit: usize,
    /// All of them
    #[arg(short, long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Only those that stand or ended so
    #[arg(long, value_enum, value_name = "STATUS")]
    pub(crate) status: Option<StatusKind>,
    /// Only those that were built with this label; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The build, by its id or the beginning of it; the latest without it
    pub(crate) id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The build, by its id or the beginning of it; the latest without it
    pub(crate) id: Option<String>,
    /// Go on until the build is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the step of this name
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Only what was printed since then: 10m ago, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Timestamp>,
    /// Only the last so many lines, and what comes after them with --follow
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) tail: Option<usize>,
    /// Put the moment before each line, in UTC
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Print JSON, one object a line
    #[arg(long, conflicts_with_all = ["timestamps", "tail"])]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
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

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The build, by its id or the beginning of it; all that were interrupted without it
    pub(crate) id: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only builds that finished so long ago, such as 12h or 30d [default: 30d without --keep and --all]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    /// Keep the latest so many
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep: Option<usize>,
    /// All finished builds
    #[arg(short, long, conflicts_with_all = ["older_than", "keep"])]
    pub(crate) all: bool,
    /// All caches too, but those that were used within the last hour [default: what was not used for 30d, and the oldest beyond 10 GiB]
    #[arg(long)]
    pub(crate) caches: bool,
    /// Only tell what would be forgotten
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}
