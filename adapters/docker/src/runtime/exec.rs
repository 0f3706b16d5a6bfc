//! Commands in boxes.
//!
//! A command runs in a session of its own with its output going to files, so that it outlives our
//! connection, our process and whoever follows it. One exec starts it, or attaches to it, and
//! prints the files from their beginning; see `scripts/exec.sh`.

use super::{
    DockerRuntime,
    handle::{Handle, variables},
    output::{Ending, Output},
    script,
};
use crate::error::said;
use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use bytes::BytesMut;
use futures::{StreamExt, stream::BoxStream};
use kiln::{
    BuildId, Command, Error, ErrorKind, Result, StepCx, StepLog, StopReason,
    port::{ExitCode, Stream},
};
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

const OP: &str = "Runtime::exec";
/// How long stopping a command may take; the script itself gives it 1 s.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long to wait for the last words of a command that was stopped.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long to wait for a box that is paused.
const PAUSED_MAX: Duration = Duration::from_secs(600);
/// How often to look whether a box is paused still.
const PAUSED_EVERY: Duration = Duration::from_millis(50);
/// The longest answer of one of our own scripts.
const ANSWER_MAX: usize = 1 << 20;

/// The exit code of a command that was killed: 128 and the number of the signal.
const KILLED: i64 = 137;
const OUT_OF_MEMORY: &str = "the box ran out of memory, and a process of it was killed";

type Chunks = BoxStream<'static, std::result::Result<LogOutput, bollard::errors::Error>>;

/// Follows a command that was started or attached to.
struct Follower {
    chunks: Chunks,
    output: Output,
    errors: Output,
    runtime: DockerRuntime,
}

impl Follower {
    /// Logs output until the script ends. May be dropped and called again.
    async fn run(&mut self, log: &StepLog) -> Result<Ending> {
        loop {
            if let Some(ending) = self.output.ending().filter(|_| self.errors.is_over()) {
                return Ok(ending);
            }
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
        }
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
) -> Result<ExitCode> {
    check(command)?;
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
        Ok(Ok(ending)) => answer(runtime, cx, handle, command, ending).await,
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
        Some(program) if program.is_empty() => return invalid("the program has no name"),
        Some(_) => {}
    }
    let texts = command.argv.iter().chain(&command.cwd).chain(&command.user);
    if texts.into_iter().any(|t| t.contains('\0')) {
        return invalid("a command has a zero byte in it");
    }
    Ok(())
}

fn options(handle: &Handle, command: &Command) -> CreateExecOptions<String> {
    let user = command.user.clone().unwrap_or_else(|| handle.user.clone());
    CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        user: Some(user).filter(|u| !u.is_empty()),
        ..CreateExecOptions::default()
    }
}

async fn answer(
    runtime: &DockerRuntime,
    cx: &StepCx,
    handle: &Handle,
    command: &Command,
    ending: Ending,
) -> Result<ExitCode> {
    let program = command.argv.first().map_or("", String::as_str);
    let failed = |what| Error::new(ErrorKind::Failed, OP, what);
    match ending {
        Ending::Code(code) => {
            if code == KILLED && runtime.ran_out_of_memory(&handle.container).await {
                cx.log.line(OUT_OF_MEMORY);
            }
            Ok(ExitCode(code))
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
                return Ok(ExitCode(KILLED));
            }
            let message = "the command is gone and left no exit code";
            Err(Error::new(ErrorKind::Unavailable, OP, message)
                .hint("Its processes were killed from outside, or the box was restarted."))
        }
    }
}

/// Stops a command, unless somebody else has the build. That it cannot be stopped is told in the
/// log only: the box will be removed anyway.
async fn stop(runtime: &DockerRuntime, cx: &StepCx, handle: &Handle, command: &Command) {
    if cx.cancel.reason() == Some(StopReason::Fenced) {
        return;
    }
    let (directory, key) = (script::directory(&cx.key), script::mark(&cx.key));
    let options = CreateExecOptions {
        cmd: Some(script::line(&script::STOP, [directory.as_str(), &key])),
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
async fn stop_and_hear(
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

impl DockerRuntime {
    /// Starts an exec and returns what it prints.
    pub(super) async fn begin(
        &self,
        container: &str,
        options: CreateExecOptions<String>,
        op: &'static str,
    ) -> Result<Chunks> {
        let docker = self.client.docker();
        let id = self.prepare(container, options, op).await?;
        let start = StartExecOptions { output_capacity: Some(64 << 10), ..Default::default() };
        match docker.start_exec(&id, Some(start)).await.map_err(|e| self.client.error(op, e))? {
            StartExecResults::Attached { output, .. } => Ok(output.boxed()),
            StartExecResults::Detached => {
                Err(Error::new(ErrorKind::Unexpected, op, "the engine did not attach"))
            }
        }
    }

    /// Makes an exec. A commit pauses the box for a while, and nothing starts in it meanwhile.
    async fn prepare(
        &self,
        container: &str,
        options: CreateExecOptions<String>,
        op: &'static str,
    ) -> Result<String> {
        let docker = self.client.docker();
        let begun = Instant::now();
        loop {
            let made = docker.create_exec(container, options.clone()).await;
            let e = match made {
                Ok(made) => return Ok(made.id),
                Err(e) => self.client.error(op, e).with("container", container),
            };
            if e.kind() != ErrorKind::Conflict || !self.is_paused(container).await {
                return Err(e);
            }
            if begun.elapsed() > PAUSED_MAX {
                return Err(Error::new(ErrorKind::Unavailable, op, "the box stays paused")
                    .with("container", container)
                    .hint("Let it go on with `docker unpause`."));
            }
            sleep(PAUSED_EVERY).await;
        }
    }

    async fn is_paused(&self, container: &str) -> bool {
        let found = self.client.docker().inspect_container(container, None).await;
        found.is_ok_and(|c| c.state.and_then(|s| s.paused) == Some(true))
    }

    /// Runs one of our own short scripts, and returns its standard output.
    pub(super) async fn ask(
        &self,
        container: &str,
        options: CreateExecOptions<String>,
        op: &'static str,
    ) -> Result<Vec<u8>> {
        let mut chunks = self.begin(container, options, op).await?;
        let mut answer = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            if let LogOutput::StdOut { message } = chunk.map_err(|e| self.client.error(op, e))?
                && answer.len() < ANSWER_MAX
            {
                answer.extend_from_slice(&message);
            }
        }
        Ok(answer.into())
    }

    /// Whether the kernel killed a process of the box for want of memory. The engine does not say
    /// it of a container that goes on.
    async fn ran_out_of_memory(&self, container: &str) -> bool {
        let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
        let cmd = ["cat"].into_iter().chain(files).map(str::to_owned).collect();
        let options = CreateExecOptions {
            cmd: Some(cmd),
            attach_stdout: Some(true),
            ..CreateExecOptions::default()
        };
        let counters = self.ask(container, options, OP).await.unwrap_or_default();
        let counters = String::from_utf8_lossy(&counters);
        let mut counts = counters.lines().filter_map(|l| l.strip_prefix("oom_kill "));
        counts.any(|count| count.trim() != "0")
    }
}
