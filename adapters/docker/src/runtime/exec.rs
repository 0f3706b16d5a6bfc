//! Commands in boxes.
//!
//! A command runs in a session of its own with its output going to files, so that it outlives our
//! connection, our process and whoever follows it. One exec starts it, or attaches to it, and
//! prints the files from their beginning; see `scripts/exec.sh`.

use super::{
    DockerRuntime,
    attach::Chunks,
    handle::{Handle, variables},
    output::{Ending, Output},
    script, session,
};
use crate::error::said;
use bollard::{container::LogOutput, exec::CreateExecOptions};
use futures::StreamExt;
use kiln::{
    BuildId, Command, Error, ErrorKind, Result, StepCx, StepLog, StopReason,
    port::{Exit, Stream},
};
use std::{collections::BTreeMap, pin::pin, time::Duration};
use tokio::time::timeout;

const OP: &str = "Runtime::exec";
/// How long stopping a command may take; the script itself gives it 1 s.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long to wait for the last words of a command that was stopped.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The exit code of a command that was killed: 128 and the number of the signal.
const KILLED: i64 = 137;
const OUT_OF_MEMORY: &str = "the box ran out of memory, and a process of it was killed";

/// Follows a command that was started or attached to.
pub(super) struct Follower {
    pub(super) chunks: Chunks,
    pub(super) output: Output,
    pub(super) errors: Output,
    pub(super) runtime: DockerRuntime,
}

impl Follower {
    /// Logs output until the script ends. May be dropped and called again.
    pub(super) async fn run(&mut self, log: &StepLog) -> Result<Ending> {
        loop {
            if let Some(ending) = self.output.ending().filter(|_| self.errors.is_over()) {
                return Ok(ending);
            }
            self.step(log).await?;
        }
    }

    /// Waits until the script begins.
    pub(super) async fn begin(&mut self, log: &StepLog) -> Result<()> {
        while !self.output.has_begun() {
            self.step(log).await?;
        }
        Ok(())
    }

    async fn step(&mut self, log: &StepLog) -> Result<()> {
        match self.chunks.next().await {
            Some(Ok(LogOutput::StdOut { message })) => {
                log.write(Stream::Stdout, &self.output.push(&message)).await;
            }
            Some(Ok(LogOutput::StdErr { message })) => {
                log.write(Stream::Stderr, &self.errors.push(&message)).await;
            }
            // Anything else is a stream that was cut in the middle.
            Some(Ok(_)) | None => return Err(self.broken()),
            Some(Err(e)) => return Err(self.runtime.client.error(OP, e)),
        }
        Ok(())
    }

    fn broken(&self) -> Error {
        match self.output.complaint() {
            Some(text) if !text.is_empty() => said(OP, &text, ErrorKind::Unavailable),
            _ => Error::new(
                ErrorKind::Unavailable,
                OP,
                "the engine stopped telling of the command before its end",
            ),
        }
    }
}

pub(super) async fn exec(
    runtime: &DockerRuntime,
    cx: &StepCx,
    handle: &Handle,
    command: &Command,
) -> Result<Exit> {
    check(command)?;
    if let Some(session) = &command.session {
        return session::exec(runtime, cx, handle, command, session).await;
    }
    if cx.cancel.is_cancelled() {
        // An earlier driver may have started it.
        stop(runtime, cx, handle, command).await;
        return Err(cx.cancelled(OP));
    }
    let env = variables(cx, handle.env.iter().chain(&command.env), OP).await?;
    let mark = BuildId::random();
    let key = script::mark(&cx.key);
    let directory = script::directory(&cx.key);
    let cwd = command.cwd.as_deref().unwrap_or("");
    let arguments = [mark.as_str(), script::RUN.as_str(), &key, &directory, cwd];
    let arguments = arguments.into_iter().chain(command.argv.iter().map(String::as_str));
    let options = CreateExecOptions {
        cmd: Some(script::line(&script::EXEC, arguments)),
        env: Some(env),
        ..options(handle, command)
    };
    let begun = match cx.cancel.race(runtime.begin(&handle.container, options, OP)).await {
        Ok(begun) => begun,
        Err(reason) => {
            if reason != StopReason::Fenced {
                stop(runtime, cx, handle, command).await;
            }
            return Err(cx.cancelled(OP));
        }
    };
    let chunks = begun?;
    let mut follower = Follower {
        chunks,
        output: Output::new(mark.as_str()),
        errors: Output::errors(mark.as_str()),
        runtime: runtime.clone(),
    };
    match cx.cancel.race(follower.run(&cx.log)).await {
        Ok(Ok(ending)) => {
            let notes = notes(runtime, cx, handle, command).await?;
            answer(runtime, cx, handle, command, ending, notes).await
        }
        Ok(Err(e)) => {
            // The attempt is over, so its effects have to be, too.
            stop(runtime, cx, handle, command).await;
            Err(e.with("box", &handle.container))
        }
        Err(StopReason::Fenced) => Err(cx.cancelled(OP)),
        Err(_) => {
            stop_and_hear(runtime, cx, handle, command, &mut follower).await;
            Err(cx.cancelled(OP))
        }
    }
}

fn check(command: &Command) -> Result<()> {
    let invalid = |what| Err(Error::new(ErrorKind::Invalid, OP, what));
    match command.argv.first() {
        None => return invalid("a command has no program"),
        Some(program) if program.is_empty() && command.session.is_none() => {
            return invalid("the program has no name");
        }
        Some(_) => {}
    }
    let texts = command.argv.iter().chain(&command.cwd).chain(&command.user);
    if texts.into_iter().any(|t| t.contains('\0')) {
        return invalid("a command has a zero byte in it");
    }
    Ok(())
}

/// Reads what a command of its own process left in files.
async fn notes(
    runtime: &DockerRuntime,
    cx: &StepCx,
    handle: &Handle,
    command: &Command,
) -> Result<BTreeMap<usize, String>> {
    if command.notes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (mark, place) = (BuildId::random(), script::directory(&cx.key));
    let arguments = [mark.as_str(), &place].into_iter();
    let arguments = arguments.chain(command.notes.values().map(String::as_str));
    let options = CreateExecOptions {
        cmd: Some(script::line(&script::NOTES, arguments)),
        ..options(handle, command)
    };
    let told = runtime.ask(&handle.container, options, OP);
    let told = cx.cancel.race(told).await.map_err(|_| cx.cancelled(OP))??;
    let mut output = Output::new(mark.as_str());
    output.push(format!("\u{1}{mark} begin\n").as_bytes());
    output.push(&told);
    output.push(format!("\u{1}{mark} code 0\n").as_bytes());
    Ok(output.notes())
}

pub(super) fn options(handle: &Handle, command: &Command) -> CreateExecOptions<String> {
    let user = command.user.clone().unwrap_or_else(|| handle.user.clone());
    CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        user: Some(user).filter(|u| !u.is_empty()),
        ..CreateExecOptions::default()
    }
}

pub(super) async fn answer(
    runtime: &DockerRuntime,
    cx: &StepCx,
    handle: &Handle,
    command: &Command,
    ending: Ending,
    notes: BTreeMap<usize, String>,
) -> Result<Exit> {
    let program = command.argv.first().map_or("", String::as_str);
    let failed = |what| Error::new(ErrorKind::Failed, OP, what);
    match ending {
        Ending::Code(code) => {
            if code == KILLED && runtime.ran_out_of_memory(&handle.container).await {
                cx.log.line(OUT_OF_MEMORY);
            }
            let names = command.notes.keys().enumerate();
            let told = names.filter_map(|(n, name)| Some((name.clone(), notes.get(&n)?.clone())));
            Ok(Exit { code, notes: told.collect() })
        }
        Ending::Over => Err(session::over(command)),
        Ending::Full => {
            let message = "the disk of the box has no room to begin a command";
            Err(Error::new(ErrorKind::Exhausted, OP, message).with("box", &handle.container))
        }
        Ending::Missing => {
            Err(failed("there is no such program").with("program", program).exit_code(127))
        }
        Ending::Denied => {
            Err(failed("the program cannot be run").with("program", program).exit_code(126))
        }
        Ending::NoDirectory => Err(failed("there is no such directory to run the command in")
            .with("directory", command.cwd.as_deref().unwrap_or(""))
            .exit_code(126)),
        Ending::Stopped => Err(Error::new(ErrorKind::Cancelled, OP, "the command was stopped")),
        Ending::NoTool(tool) => {
            Err(Error::new(ErrorKind::Unsupported, OP, "the image of the box lacks a tool")
                .with("tool", tool)
                .hint("Use an image with busybox or coreutils."))
        }
        Ending::Lost => {
            stop(runtime, cx, handle, command).await;
            // The kernel may have taken our shell around the command, or both.
            if runtime.ran_out_of_memory(&handle.container).await {
                cx.log.line(OUT_OF_MEMORY);
                return Ok(Exit::new(KILLED));
            }
            let message = "the command is gone and left no exit code";
            Err(Error::new(ErrorKind::Unavailable, OP, message)
                .hint("Its processes were killed from outside, or the box was restarted."))
        }
    }
}

/// Stops a command, unless somebody else has the build. That it cannot be stopped is told in the
/// log only: the box will be removed anyway.
pub(super) async fn stop(runtime: &DockerRuntime, cx: &StepCx, handle: &Handle, command: &Command) {
    if cx.cancel.reason() == Some(StopReason::Fenced) {
        return;
    }
    let (directory, key) = (script::directory(&cx.key), script::mark(&cx.key));
    let session = command.session.as_ref().map_or_else(String::new, script::session);
    let options = CreateExecOptions {
        cmd: Some(script::line(&script::STOP, [directory.as_str(), &key, &session])),
        // The environment of a process can be read by its own user only.
        ..options(handle, command)
    };
    match timeout(STOP_MAX, runtime.ask(&handle.container, options, OP)).await {
        Ok(Ok(_)) => {}
        Ok(Err(e)) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
        Ok(Err(e)) => cx.log.line(format!("warning: the command could not be stopped: {e}")),
        Err(_) => cx.log.line(format!("warning: the command did not stop within {STOP_MAX:?}")),
    }
}

/// Stops a command and logs what it prints until it is gone.
pub(super) async fn stop_and_hear(
    runtime: &DockerRuntime,
    cx: &StepCx,
    handle: &Handle,
    command: &Command,
    follower: &mut Follower,
) {
    let mut stopping = pin!(stop(runtime, cx, handle, command));
    let mut rest = pin!(follower.run(&cx.log));
    tokio::select! {
        () = &mut stopping => {
            // Whether the last words come in time changes nothing.
            let _ = timeout(LAST_WORDS, rest).await;
        }
        _ = &mut rest => stopping.await,
    }
}
