//! What goes to the terminal: results to standard output, everything else to standard error.

use crate::args::Exit;
use kiln::{Error, ErrorKind, Failure};
use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

/// Prints a result. A reader that went away, as `head` does, is no fault.
pub(crate) fn result(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &impl serde::Serialize) {
    result(serde_json::to_string(value).unwrap_or_default());
}

/// Tells the reader something beside the result.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether standard error is a terminal that takes colours.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Prints why the command could not do its work, and says with which code it ends.
pub(crate) fn failure(e: &Error) -> ExitCode {
    note(format!("error: {}{}", clean(&e.to_string()), causes(e)));
    if let Some(hint) = e.hint_text() {
        note(format!("help: {}", clean(hint)));
    }
    match e.kind() {
        ErrorKind::Invalid | ErrorKind::Unsupported => Exit::Usage,
        ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Failed => Exit::Failed,
        ErrorKind::Cancelled => Exit::Cancelled,
        _ => Exit::Errored,
    }
    .into()
}

/// Prints why a step failed.
pub(crate) fn step_failure(step: &str, failure: &Failure) {
    note(format!("error: step `{step}`: {}", clean(&failure.message)));
    if let Some(hint) = &failure.hint {
        note(format!("help: {}", clean(hint)));
    }
}

fn causes(e: &Error) -> String {
    let mut text = String::new();
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    clean(&text).into_owned()
}

/// Text from elsewhere without anything that could move the cursor or change the terminal. Colours
/// stay, and so do line breaks and tabs.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\n' && c != '\t') {
        out.push_str(&rest[..at]);
        let (colour, after) = colour(&rest[at..]);
        out.push_str(colour);
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Takes one control sequence off the beginning: a colour is kept, anything else is not.
fn colour(text: &str) -> (&str, &str) {
    if let Some(body) = text.strip_prefix("\u{1b}[") {
        let end = body
            .find(|c: char| !(c.is_ascii_digit() || c == ';' || c == '?'))
            .unwrap_or(body.len());
        let last = body[end..].chars().next();
        let whole = 2 + end + last.map_or(0, char::len_utf8);
        let keep = if last == Some('m') { &text[..whole] } else { "" };
        return (keep, &text[whole..]);
    }
    let one = text.chars().next().map_or(0, char::len_utf8);
    ("", &text[one..])
}

/// A number of bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A time for people.
pub(crate) fn time(time: std::time::Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        s @ 60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_cannot_move_the_cursor() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m\tb\n"), "a\u{1b}[31mred\u{1b}[0m\tb\n");
        assert_eq!(clean("a\u{1b}[2Jb\u{1b}[1;1Hc\rd\u{7}"), "abcd");
        assert_eq!(clean("\u{1b}]0;title\u{7}x\u{1b}["), "]0;titlex");
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!((bytes(999), bytes(1_500_000)), ("999 B".into(), "1.5 MB".into()));
        assert_eq!(time(std::time::Duration::from_millis(1250)), "1.2s");
        assert_eq!(time(std::time::Duration::from_secs(125)), "2m05s");
    }
}
