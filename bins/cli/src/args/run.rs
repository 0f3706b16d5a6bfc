//! What can be asked of the commands for `wercker.yml`: `check`, `detect`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

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
