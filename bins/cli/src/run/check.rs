//! Looking at a `wercker.yml` without running it: `check`.

use super::wrong_in;
use crate::{
    args::{CheckArgs, Exit},
    print,
};
use kiln::{Error, ErrorKind, Result};
use kiln_wercker::file::{self, Diagnostic, FILE_NAMES, File};
use serde::Serialize;
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

const OP: &str = "kiln check";
/// No file is longer than this; what reads it tells of it.
const BYTES_MAX: u64 = 16 << 20;

/// What was looked at, as JSON tells it.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a str,
    errors: usize,
    warnings: usize,
    pipelines: Vec<&'a str>,
}

pub(crate) fn check(args: &CheckArgs) -> Result<Exit> {
    if args.schema {
        print::result(format!("{:#}", file::schema()));
        return Ok(Exit::Fine);
    }
    let (name, text) = match args.file == Path::new("-") {
        true => ("<standard input>".into(), bytes(&mut io::stdin().lock(), Path::new("-"))?),
        false => {
            let path = find(&args.file)?;
            (path.display().to_string(), text(&path)?)
        }
    };
    let parsed = File::parse(&name, &text);
    let errors = parsed.diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = parsed.diagnostics.len() - errors;
    if args.json {
        parsed.diagnostics.iter().for_each(|d| print::json("diagnostic", d));
        let pipelines = parsed.file.iter().flat_map(|f| f.pipelines.iter());
        let pipelines = pipelines.map(|p| p.name.value.as_str()).collect();
        print::json("checked", Checked { file: &name, errors, warnings, pipelines });
    } else {
        show(&parsed.diagnostics);
        print::note(match (errors, warnings) {
            (0, 0) => format!("{name} is fine"),
            (0, w) => format!("{name} is fine, with {}", count(w, "warning")),
            (e, 0) => format!("{name} has {}", count(e, "error")),
            (e, w) => format!("{name} has {} and {}", count(e, "error"), count(w, "warning")),
        });
    }
    Ok(if errors > 0 { Exit::Usage } else { Exit::Fine })
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Shows what is wrong, each with its line.
pub(super) fn show(all: &[Diagnostic]) {
    let colours = print::colours(&io::stderr());
    for diagnostic in all {
        print::note(file::render(diagnostic, colours));
    }
}

/// The file that a path means: itself, or the first of the usual names in a directory.
pub(super) fn find(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let there = FILE_NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    there.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, OP, "there is no wercker.yml")
            .with("looked in", path.display())
            .with("for", FILE_NAMES.join(", "))
            .hint("`kiln detect` writes one.")
    })
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).and_then(|file| match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file")),
    });
    bytes(&mut file.map_err(|e| unreadable(path, &e))?, path)
}

fn bytes(from: &mut impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(BYTES_MAX).read_to_end(&mut text).map_err(|e| unreadable(path, &e))?;
    Ok(text)
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    wrong_in(OP, "the file cannot be read").with("file", path.display()).source(e.to_string())
}
