//! Cleaning up behind a task that is killed.
//!
//! std cannot catch signals. So a second process waits at the other end of a pipe: when the task
//! ends in any way without having said that it is done, the pipe closes, and the second process ends
//! what the task was running and stops the services that it had started.

use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use crate::process::{Process, Signal};
use crate::services::{self, Service};
use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What the second process is called with; not a command for people.
pub(crate) const COMMAND: &str = "__guard";

/// The task's end of the pipe.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts the second process.
    pub(crate) fn begin(layout: &Layout) -> Result<Self> {
        let dir = layout.services();
        fs::create_dir_all(&dir).context(format!("cannot create {}", dir.display()))?;
        let log = File::create(dir.join("guard.log")).context("cannot write the guard's log")?;
        let errors = log.try_clone().context("cannot share the guard's log")?;
        let mut command = Command::new(std::env::current_exe().context("cannot find myself")?);
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(log).stderr(errors);
        // Its own group: a Ctrl-C must not reach it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().context("cannot start the guard")?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    fn say(&mut self, line: &str) {
        // A guard that is gone cannot be told; the task itself still cleans up at its end.
        if let Some(pipe) = &mut self.pipe {
            let _ = writeln!(pipe, "{line}").and_then(|()| pipe.flush());
        }
    }

    /// This service was started by the task.
    pub(crate) fn started(&mut self, service: Service) {
        self.say(&format!("service {}", service.name()));
    }

    /// Spawns a child that ends with the task, hands it to `work` and waits for it.
    pub(crate) fn run(
        &mut self,
        command: &mut Command,
        work: impl FnOnce(&mut Child),
    ) -> Result<ExitStatus> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().context(format!("cannot run {name}"))?;
        self.say(&format!("process {}", child.id()));
        work(&mut child);
        let status = child.wait().context(format!("cannot wait for {name}"))?;
        self.say("idle");
        Ok(status)
    }

    /// The task has cleaned up itself.
    pub(crate) fn end(mut self) {
        self.say("done");
        self.pipe = None;
        let _ = self.child.wait();
    }
}

/// The second process.
pub(crate) fn watch() -> Result<()> {
    let mut running = None;
    let mut started = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("cannot read from the task")?;
        match line.split_once(' ') {
            Some(("process", pid)) => running = pid.parse().ok().and_then(Process::find),
            Some(("service", name)) => {
                started.extend(Service::ALL.into_iter().filter(|service| service.name() == name));
            }
            _ if line == "idle" => running = None,
            _ if line == "done" => return Ok(()),
            _ => return Err(Failure::task(format!("cannot understand `{line}`"))),
        }
    }
    println!("the task was killed");
    if let Some(process) = running {
        end_tree(&process);
    }
    services::down(&Layout::find()?, &started)
}

/// Ends a process and everything below it.
fn end_tree(process: &Process) {
    // Looked up before the first one ends: then its children belong to somebody else.
    let mut all = process.descendants();
    all.insert(0, process.clone());
    for process in &all {
        process.signal(Signal::Terminate);
    }
    for process in &all {
        let _ = process.stop(Signal::Terminate, Duration::from_secs(10));
    }
}
