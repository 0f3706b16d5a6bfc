//! What ran, how long it took and how it ended.

use super::tally::Tally;
use crate::error::{Context, Failure, Result};
use crate::guard::Guard;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A run's steps and sums.
#[derive(Debug)]
pub(super) struct Report {
    guard: Guard,
    /// On a continuous integration machine a skipped test is a hole in the net.
    ci: bool,
    steps: Vec<Step>,
    notes: Vec<String>,
    tally: Tally,
}

#[derive(Debug)]
struct Step {
    title: String,
    took: Duration,
    /// Why it failed, unless it did not.
    failure: Option<String>,
    /// Whether its failure is one of the tally's failed tests.
    counted: bool,
}

impl Report {
    pub(super) fn new(guard: Guard, ci: bool) -> Self {
        let tally = Tally::default();
        Self { guard, ci, steps: Vec::new(), notes: Vec::new(), tally }
    }

    /// What cleans up if this process is killed.
    pub(super) fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }

    /// Something to say at the end.
    pub(super) fn note(&mut self, text: &str) {
        println!("\n{text}");
        self.notes.push(text.to_owned());
    }

    /// Runs a step; says whether it went well.
    pub(super) fn step(&mut self, title: &str, work: impl FnOnce(&mut Self) -> Result<()>) -> bool {
        println!("\n==== {title}");
        let begin = Instant::now();
        let failure = work(self).err().map(|error| error.to_string());
        let took = begin.elapsed();
        match &failure {
            None => println!("---- {title}: ok in {took:.1?}"),
            Some(why) => println!("---- {title}: FAILED in {took:.1?}: {why}"),
        }
        let ok = failure.is_none();
        self.steps.push(Step { title: title.to_owned(), took, failure, counted: false });
        ok
    }

    /// Runs a command as a step.
    pub(super) fn command(&mut self, title: &str, mut command: Command) -> bool {
        self.step(title, |report| {
            let status = report.guard.run(&mut command, |_| {})?;
            if status.success() { Ok(()) } else { Err(Failure::task(status.to_string())) }
        })
    }

    /// Runs `cargo test` as a step and counts its results. All output goes to `log`; what passing
    /// tests print stays off the terminal.
    pub(super) fn tests(&mut self, title: &str, mut command: Command, log: &Path) -> bool {
        let before = self.tally.failed;
        let ok = self.step(title, |report| {
            command.stdout(Stdio::piped());
            let mut file = File::create(log).context(format!("cannot write {}", log.display()))?;
            let tally = &mut report.tally;
            let status = report.guard.run(&mut command, |child| {
                each_line(child, |line| {
                    // A full disk loses the log, not the run.
                    let _ = writeln!(file, "{line}");
                    if tally.line(line) {
                        println!("{line}");
                    }
                });
            })?;
            if status.success() { Ok(()) } else { Err(Failure::task(status.to_string())) }
        });
        if let Some(step) = self.steps.last_mut() {
            step.counted = self.tally.failed > before;
        }
        println!("all output: {}", log.display());
        ok
    }

    /// Prints the summary; its last line is `N passed, N failed`, and `N skipped` if any were.
    pub(super) fn finish(self) -> Result<()> {
        self.guard.end();
        println!("\n==== summary");
        for step in &self.steps {
            let state = if step.failure.is_none() { "ok" } else { "FAILED" };
            println!("{state:<7} {:>8.1}s  {}", step.took.as_secs_f64(), step.title);
        }
        for note in &self.notes {
            println!("{note}");
        }
        for (name, reason) in &self.tally.skipped {
            println!("skipped {name}: {reason}");
        }
        let holes = if self.ci { self.tally.holes() } else { 0 };
        if holes > 0 {
            println!("{holes} tests were skipped for want of something CI has to have");
        }
        // A step that fails without a failed test counts as one: a crate that does not compile
        // must not end in "0 failed".
        let steps = self.steps.iter().filter(|s| s.failure.is_some() && !s.counted).count();
        let failed = self.tally.failed + steps + holes;
        println!("{}", self.tally.last_line(failed, holes));
        if failed == 0 { Ok(()) } else { Err(Failure::Said) }
    }
}

/// Hands over every line of a child's output. A process that a test left behind may hold the pipe
/// open for ever, so when the child has ended, silence is an end too.
fn each_line(child: &mut Child, mut take: impl FnMut(&str)) {
    let Some(output) = child.stdout.take() else { return };
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(std::io::Result::ok);
        lines.map(|line| send.send(line)).take_while(std::result::Result::is_ok).for_each(drop);
    });
    loop {
        match lines.recv_timeout(Duration::from_secs(2)) {
            Ok(line) => take(&String::from_utf8_lossy(&line)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_left_behind_does_not_hold_the_run() {
        let script = "printf 'one\\ntwo\\n'; sleep 30 & echo $!";
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", script]).stdout(Stdio::piped()).spawn().expect("sh starts");
        let begin = Instant::now();
        let mut lines = Vec::new();
        each_line(&mut child, |line| lines.push(line.to_owned()));
        assert_eq!(lines[..2], ["one", "two"]);
        assert!(begin.elapsed() < Duration::from_secs(20), "it waited for the process");
        child.wait().expect("it has ended");
        let left = lines[2].parse().ok().and_then(crate::process::Process::find);
        left.expect("it is left").signal(crate::process::Signal::Kill);
    }
}
