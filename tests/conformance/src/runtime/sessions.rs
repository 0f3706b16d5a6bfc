//! Commands that share a shell.

use super::{Boxes, beside, main_box, start};
use crate::{
    Fresh,
    helpers::{expect_kind, soon},
    step::TestStep,
};
use kiln::{
    BoxName, Command, ErrorKind, SessionName, StopReason,
    port::{BoxHandle, Exit, Stream},
};
use std::{collections::BTreeMap, time::Duration};

/// What a text for the shell of a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// Sets the variable `A` to `5`.
    Sets,
    /// Prints the value of `A` as a line.
    Tells,
    /// Prints the line `first`, half a second later the line `last`.
    TakesAWhile,
    /// Prints the line `first` and goes on until it is stopped.
    Hangs,
    /// Writes the line `told` to `/tmp/kiln-note`.
    Notes,
    /// Ends the shell with a code.
    Exits(u8),
    /// Names a program that does not exist.
    Misses,
}

fn session(name: &str) -> SessionName {
    SessionName::new(name).expect("a name in a test is an id")
}

fn says<R: Boxes>(runtime: &R, name: &str, shares: Shares) -> Command {
    Command::in_session(session(name), runtime.text(shares))
}

/// Runs a command as a step of its own, and returns how it ended and what it printed.
async fn run<R: Boxes>(
    runtime: &R,
    (first, number): (&TestStep, u16),
    in_box: &BoxHandle,
    command: &Command,
) -> (kiln::Result<Exit>, String) {
    let mut step = beside(first, number, 1);
    let ended = soon("a command", runtime.exec(step.cx(), in_box, command)).await;
    let out = step.bytes(Stream::Stdout).await;
    (ended, String::from_utf8_lossy(&out).into_owned())
}

/// What a command leaves its session, the next one finds; other sessions and boxes have their own.
pub async fn commands_of_a_session_share_a_shell<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let other = BoxName::new("other").expect("an id");
    let other = runtime.start(step.cx(), &other, &runtime.spec()).await.expect("a box");
    let sets = says(&*runtime, "main", Shares::Sets);
    let tells = says(&*runtime, "main", Shares::Tells);
    assert_eq!(run(&*runtime, (&step, 1), &in_box, &sets).await.0.unwrap(), Exit::new(0));
    let (ended, out) = run(&*runtime, (&step, 2), &in_box, &tells).await;
    assert_eq!((ended.unwrap(), out.as_str()), (Exit::new(0), "5\n"));
    let elsewhere = says(&*runtime, "after", Shares::Tells);
    assert_eq!(run(&*runtime, (&step, 3), &in_box, &elsewhere).await.1, "\n", "another session");
    assert_eq!(run(&*runtime, (&step, 4), &other, &tells).await.1, "\n", "another box");
    runtime.sweep(&step.key.build).await.unwrap();
}

/// Variables that a command is given stay in its session, whatever their values hold.
pub async fn variables_of_a_command_stay_in_its_session<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let value = "a'b\"c$d`e\\f g*?;&|<>(){}[]!#~%\nnext line";
    let mut given = says(&*runtime, "main", Shares::Tells);
    given.env.insert("A".to_owned(), value.into());
    for (number, command) in [(1, &given), (2, &says(&*runtime, "main", Shares::Tells))] {
        let (ended, out) = run(&*runtime, (&step, number), &in_box, command).await;
        assert_eq!((ended.unwrap().code, out), (0, format!("{value}\n")));
    }
    runtime.sweep(&step.key.build).await.unwrap();
}

/// A command that ends its shell has the shell's code, and later ones run nothing.
pub async fn a_session_that_ended_runs_nothing_more<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let missing = says(&*runtime, "main", Shares::Misses);
    let (ended, _) = run(&*runtime, (&step, 1), &in_box, &missing).await;
    assert_eq!(ended.unwrap(), Exit::new(127), "a missing program is an answer");
    let exits = says(&*runtime, "main", Shares::Exits(3));
    let (ended, _) = run(&*runtime, (&step, 2), &in_box, &exits).await;
    assert_eq!(ended.unwrap(), Exit::new(3));
    let tells = says(&*runtime, "main", Shares::Tells);
    let (ended, out) = run(&*runtime, (&step, 3), &in_box, &tells).await;
    expect_kind(ended, ErrorKind::Failed, "a command of a session that has ended");
    assert_eq!(out, "");
    let elsewhere = says(&*runtime, "after", Shares::Tells);
    assert_eq!(run(&*runtime, (&step, 4), &in_box, &elsewhere).await.0.unwrap(), Exit::new(0));
    runtime.sweep(&step.key.build).await.unwrap();
}

/// A command that is stopped ends its session.
pub async fn a_stopped_command_ends_its_session<R: Boxes>(runtime: Fresh<R>) {
    let mut step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let (port, cx, handle) = (runtime.port(), step.cx().clone(), in_box.clone());
    let command = says(&*runtime, "main", Shares::Hangs);
    let running = tokio::spawn(async move { port.exec(&cx, &handle, &command).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    step.cancel.cancel(StopReason::Cancel);
    let ended = soon("a command that was told to stop", running).await.unwrap();
    expect_kind(ended, ErrorKind::Cancelled, "a command that was told to stop");
    let tells = says(&*runtime, "main", Shares::Tells);
    let (ended, _) = run(&*runtime, (&step, 1), &in_box, &tells).await;
    expect_kind(ended, ErrorKind::Failed, "a command of a session that was stopped");
    runtime.sweep(&step.key.build).await.unwrap();
}

/// A session outlives its driver: the next one attaches to its command, and goes on in its shell.
pub async fn another_driver_goes_on_in_a_session<R: Boxes>(runtime: Fresh<R>) {
    let mut step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let sets = says(&*runtime, "main", Shares::Sets);
    run(&*runtime, (&step, 1), &in_box, &sets).await.0.unwrap();
    let (port, cx, handle) = (runtime.port(), step.cx().clone(), in_box.clone());
    let command = says(&*runtime, "main", Shares::TakesAWhile);
    let sent = command.clone();
    let driver = tokio::spawn(async move { port.exec(&cx, &handle, &sent).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    driver.abort();
    assert!(driver.await.is_err_and(|e| e.is_cancelled()));
    if runtime.has(&step.key).await.unwrap() {
        let mut next = beside(&step, 0, 1);
        let ended = soon("the rest", runtime.exec(next.cx(), &in_box, &command)).await;
        assert_eq!(ended.unwrap(), Exit::new(0));
        assert_eq!(next.bytes(Stream::Stdout).await, b"first\nlast\n");
        let tells = says(&*runtime, "main", Shares::Tells);
        assert_eq!(run(&*runtime, (&step, 2), &in_box, &tells).await.1, "5\n");
    }
    runtime.sweep(&step.key.build).await.unwrap();
}

/// What a command leaves in files is told when it has ended, in a session or not; what is not there
/// is left out.
pub async fn notes_are_told_at_the_end<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    let in_box = runtime.start(step.cx(), &main_box(), &runtime.spec()).await.expect("a box");
    let note = |c: Command| c.note("message", "/tmp/kiln-note").note("none", "/tmp/kiln-none");
    let told = BTreeMap::from([("message".to_owned(), "told\n".to_owned())]);
    let shared = note(says(&*runtime, "main", Shares::Notes));
    let alone = note(Command::script(runtime.text(Shares::Notes)));
    for (number, command) in [(1, shared), (2, alone)] {
        let (ended, _) = run(&*runtime, (&step, number), &in_box, &command).await;
        assert_eq!(ended.unwrap(), Exit { code: 0, notes: told.clone() });
    }
    runtime.sweep(&step.key.build).await.unwrap();
}
