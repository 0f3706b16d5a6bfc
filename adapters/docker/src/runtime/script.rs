//! The shell scripts that run in boxes. They need `/bin/sh` with POSIX's words, and of tools `cat`,
//! `mkdir` and `sleep`, sessions `mkfifo`, and notes `head`: what busybox and every distribution have.

use kiln::{SessionName, StepKey};
use std::sync::LazyLock;

/// Where the volume with the output of commands is mounted. Below `/dev`, which is in memory, so
/// that no commit of the box holds so much as the empty directory.
pub(super) const DIR: &str = "/dev/.kiln";

/// The first process of a box.
pub(super) static BOX: LazyLock<String> = LazyLock::new(|| bare(include_str!("scripts/box.sh")));
/// Starts a command or attaches to it.
pub(super) static EXEC: LazyLock<String> =
    LazyLock::new(|| with_common(include_str!("scripts/exec.sh")));
/// Runs the command; an argument of [`EXEC`].
pub(super) static RUN: LazyLock<String> =
    LazyLock::new(|| with_common(include_str!("scripts/run.sh")));
/// Says whether there is something to attach to.
pub(super) static HAS: LazyLock<String> =
    LazyLock::new(|| with_common(include_str!("scripts/has.sh")));
/// Stops a command.
pub(super) static STOP: LazyLock<String> = LazyLock::new(|| bare(include_str!("scripts/stop.sh")));

/// Hands commands to the shell of a session; the standard input of a shell.
pub(super) static HAND: LazyLock<String> = LazyLock::new(|| {
    bare(include_str!("scripts/notes.sh")) + &bare(include_str!("scripts/hand.sh"))
});
/// Tells what a command left in files.
pub(super) static NOTES: LazyLock<String> =
    LazyLock::new(|| bare(include_str!("scripts/notes.sh")) + "kiln_notes \"$@\"\n");

/// A command line for a script with its arguments.
pub(super) fn line<'a>(
    script: &'a str,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let head = ["/bin/sh", "-c", script, "kiln"];
    head.into_iter().chain(arguments).map(str::to_owned).collect()
}

/// The directory of an attempt.
pub(super) fn directory(key: &StepKey) -> String {
    format!("{DIR}/{}-{}", key.step, key.attempt)
}

/// The directory of a session. No attempt has one of such a name.
pub(super) fn session(name: &SessionName) -> String {
    format!("{DIR}/s-{name}")
}

/// The mark that a command and all it starts have in their environment. No mark begins another.
pub(super) fn mark(key: &StepKey) -> String {
    format!("{key}/")
}

fn with_common(text: &str) -> String {
    bare(include_str!("scripts/common.sh")) + &bare(text)
}

/// A script without its comments: whoever lists processes sees it.
fn bare(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
    lines.fold(String::new(), |all, line| all + line + "\n")
}
