//! The commands of the original: `kiln wercker`.

use super::wrong_in;
use crate::{
    args::{Exit, Fate, OldArgs, RunArgs, VersionArgs},
    print,
};
use kiln::{Error, ErrorKind, Result};

const OP: &str = "kiln wercker";

/// Tells what became of the flags of the original that were given; an error if one cannot be taken.
pub(crate) fn note_old(old: &OldArgs, json: bool) -> Result<()> {
    for (name, fate) in old.given() {
        match fate {
            Fate::Refused(instead) => {
                return Err(wrong_in(OP, format!("--{name} is not taken any more")).hint(instead));
            }
            Fate::Noted(why) if !json => print::note(format!("note: --{name}: {why}")),
            Fate::Noted(_) => {}
        }
    }
    Ok(())
}

/// The arguments of a run of a pipeline that the original had a command for.
pub(crate) fn of(pipeline: &str, mut args: RunArgs) -> RunArgs {
    args.pipeline.get_or_insert_with(|| pipeline.to_owned());
    args
}

/// Prints the version.
pub(crate) fn version(args: &VersionArgs) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    match args.json {
        true => print::json("version", serde_json::json!({ "number": version })),
        false => print::result(format!("kiln {version}")),
    }
    Exit::Fine
}

/// A command that is not there.
pub(crate) fn not_there(name: &str, instead: &str) -> Error {
    Error::new(ErrorKind::Unsupported, OP, format!("there is no `kiln wercker {name}`"))
        .hint(instead)
}
