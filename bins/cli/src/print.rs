//! What goes out: results to standard output, everything else to standard error.

use crate::{args::Exit, text};
use kiln::{Error, ErrorKind, Failure};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::OnceLock,
};

/// The version of everything that `--json` prints. A field may be added without changing it.
const JSON_VERSION: u32 = 1;

/// Why standard output takes nothing more. There is one for the process, as there is one output.
static OUTPUT_FAILED: OnceLock<io::Error> = OnceLock::new();

/// Prints a result as a line, or as several.
pub(crate) fn result(text: impl Display) {
    raw(format!("{text}\n").as_bytes());
}

/// Prints bytes as they are. After a failure nothing more is printed, and [`end`] tells of it.
pub(crate) fn raw(bytes: &[u8]) {
    if OUTPUT_FAILED.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(e) = out.write_all(bytes).and_then(|()| out.flush()) {
        // Only the first failure counts.
        let _ = OUTPUT_FAILED.set(e);
    }
}

/// Whether nobody reads any more, so that there is no use in going on.
pub(crate) fn nobody_reads() -> bool {
    OUTPUT_FAILED.get().is_some()
}

/// The code to end with. A reader that went away, as `head` does, is no fault; a full disk is.
pub(crate) fn end(exit: Exit) -> ExitCode {
    match OUTPUT_FAILED.get() {
        Some(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            note(format!("error: standard output cannot be written: {e}"));
            if exit == Exit::Fine { Exit::Errored } else { exit }.into()
        }
        _ => exit.into(),
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    version: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    body: T,
}

/// Prints an object as one line of JSON, with the version of the format and the kind of line.
pub(crate) fn json(kind: &str, body: impl Serialize) {
    let line = Line { version: JSON_VERSION, kind, body };
    match serde_json::to_string(&line) {
        Ok(line) => result(line),
        Err(e) => note(format!("warning: a line of type {kind} cannot be written as JSON: {e}")),
    }
}

/// Tells the reader something beside the result.
pub(crate) fn note(text: impl Display) {
    // Without standard error there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Whether standard error is a terminal on which a screen can move, and nobody asked for none.
pub(crate) fn can_move() -> bool {
    io::stderr().is_terminal() && var("TERM").is_some_and(|t| t != "dumb") && var("CI").is_none()
}

/// Whether an output shows colours: it is a terminal that can, and `NO_COLOR` is not set.
pub(crate) fn colours(output: &impl IsTerminal) -> bool {
    var("NO_COLOR").is_none()
        && (var("CLICOLOR_FORCE").is_some_and(|v| v != "0")
            || (output.is_terminal() && var("TERM").is_some_and(|t| t != "dumb")))
}

/// Whether more than ASCII can be shown, by the locale.
pub(crate) fn unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| var(name));
    // Without any locale it is most likely a container, whose terminal is somebody's real one.
    locale.is_none_or(|l| {
        let l = l.to_ascii_lowercase();
        l.contains("utf-8") || l.contains("utf8")
    })
}

/// An error as JSON tells it.
#[derive(Serialize)]
struct ErrorLine<'a> {
    kind: ErrorKind,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    exit_code: u8,
}

/// Prints why the command could not do its work, and says with which code it ends.
pub(crate) fn failure(e: &Error, as_json: bool) -> Exit {
    let exit = match e.kind() {
        ErrorKind::Invalid | ErrorKind::Unsupported => Exit::Usage,
        ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Failed | ErrorKind::Conflict => {
            Exit::Failed
        }
        ErrorKind::Cancelled => Exit::Cancelled,
        _ => Exit::Errored,
    };
    let message = format!("{e}{}", causes(e));
    if as_json {
        let help = e.hint_text();
        json("error", ErrorLine { kind: e.kind(), message, help, exit_code: exit as u8 });
        return exit;
    }
    note(format!("error: {}", text::plain(&message)));
    if let Some(hint) = e.hint_text() {
        note(format!("help: {}", text::plain(hint)));
    }
    exit
}

/// Prints that the command was used wrongly, as JSON: of what is said to people, the first
/// paragraph says what is wrong, and tips say what was meant.
pub(crate) fn wrong_use(said: &str) {
    let said = text::plain(said);
    let first = said.split("\n\n").next().unwrap_or_default().trim();
    let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let tips: Vec<_> = said.lines().filter_map(|line| line.trim().strip_prefix("tip: ")).collect();
    let tips = tips.join("; ");
    let (kind, help) = (ErrorKind::Invalid, Some(tips.as_str()).filter(|t| !t.is_empty()));
    json("error", ErrorLine { kind, message, help, exit_code: Exit::Usage as u8 });
}

/// Prints why a step failed.
pub(crate) fn step_failure(step: &str, failure: &Failure) {
    let (step, message) = (text::plain(step), text::plain(&failure.message));
    match failure.notes.get("message").map(|said| text::plain(said.trim())) {
        Some(said) if !said.is_empty() => note(format!("error: step `{step}`: {said} ({message})")),
        _ => note(format!("error: step `{step}`: {message}")),
    }
    if let Some(hint) = &failure.hint {
        note(format!("help: {}", text::plain(hint)));
    }
}

fn causes(e: &Error) -> String {
    let mut text = String::new();
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
