//! Processes that outlive a task, and how to know them again.

use crate::error::{Context, Failure, Result};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A process, told apart from a later one that was given the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: u32,
    /// When it started, in the system's own terms; compared, never read.
    pub(crate) started: String,
}

/// What a process is told in order to end it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
    Kill,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }

    /// Whether it is still the same process and has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        started(self.pid).is_some_and(|now| now == self.started)
    }

    /// Sends a signal if the process is still the one that was started.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let name = match signal {
                Signal::Terminate => "TERM",
                Signal::Interrupt => "INT",
                Signal::Kill => "KILL",
            };
            // A shell's own `kill`: it is everywhere, the program is not.
            let script = format!("kill -s {name} {}", self.pid);
            let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
        }
    }

    /// Asks it to end, waits, insists. Its children are its own business.
    pub(crate) fn stop(&self, how: Signal, patience: Duration) -> Result<()> {
        for (signal, patience) in [(how, patience), (Signal::Kill, Duration::from_secs(5))] {
            self.signal(signal);
            if wait_until(patience, || !self.is_alive()) {
                return Ok(());
            }
        }
        Err(Failure::task(format!("process {} does not end, even when killed", self.pid)))
    }

    /// The processes below this one, nearest first.
    pub(crate) fn descendants(&self) -> Vec<Process> {
        let parents: Vec<(u32, u32)> = all_pids().filter_map(|p| Some((p, parent(p)?))).collect();
        let mut found = vec![self.pid];
        let mut next = 0;
        while next < found.len() {
            let of = found[next];
            found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
            next += 1;
        }
        found.into_iter().skip(1).filter_map(Process::find).collect()
    }
}

/// Starts a process that a Ctrl-C at this terminal does not reach. Its output is appended to `log`.
pub(crate) fn spawn_detached(mut command: Command, log: &Path) -> Result<Process> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .context(format!("cannot write {}", log.display()))?;
    let errors = output.try_clone().context("cannot share the log")?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().context(format!("cannot start {name}"))?;
    Process::find(child.id())
        .ok_or_else(|| Failure::task(format!("{name} ended at once; read {}", log.display())))
}

/// Polls until `done` or until `patience` is over; says which.
pub(crate) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if done() {
            return true;
        }
        if begin.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Holds a file's lock until dropped, so that two tasks do not start the same thing.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).context(format!("cannot write {}", path.display()))?;
    file.lock().context(format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The program of this name: in PATH, or where distributions keep servers.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    std::env::split_paths(&path)
        .chain(places.iter().map(PathBuf::from))
        .chain(versioned("/usr/lib/postgresql"))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// `<dir>/<version>/bin`, the newest version first.
fn versioned(dir: &str) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/<pid>/stat` behind the command name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// When the process started, or nothing if there is none or it is a zombie.
fn started(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let fields = stat(pid)?;
        if matches!(fields.first()?.as_str(), "Z" | "X") {
            return None;
        }
        // Ticks since boot, so the boot belongs to it.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        return Some(format!("{}/{}", boot.trim(), fields.get(19)?));
    }
    let output =
        Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_another_with_its_number() {
        let me = Process::find(std::process::id()).expect("this process exists");
        assert!(me.is_alive());
        assert!(!Process { started: "earlier".into(), ..me }.is_alive());
    }

    #[test]
    fn an_ended_child_is_not_alive_though_it_is_a_zombie() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let process = Process::find(child.id()).expect("it runs");
        process.stop(Signal::Terminate, Duration::from_secs(10)).expect("it ends");
        assert!(!process.is_alive());
        child.wait().expect("it can be waited for");
    }

    #[test]
    fn descendants_are_found() {
        let script = "sleep 60 & wait";
        let mut child = Command::new("sh").args(["-c", script]).spawn().expect("sh starts");
        let shell = Process::find(child.id()).expect("it runs");
        assert!(wait_until(Duration::from_secs(10), || shell.descendants().len() == 1));
        for process in shell.descendants() {
            process.stop(Signal::Kill, Duration::from_secs(10)).expect("it ends");
        }
        child.wait().expect("it can be waited for");
    }
}
