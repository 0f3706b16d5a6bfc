//! What the tests of this crate share: appends, and this program once more as another process.

use kiln::{
    BuildId, Error, ErrorKind, Event, Seq, StepId, Timestamp,
    port::{Entry, Store},
};
use kiln_sqlite::SqliteDb;
use std::{
    ffi::OsStr,
    future::Future,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

/// How many events one append of the tests has.
pub(crate) const EVENTS: u64 = 3;
const TOLD: &str = "KILN_SQLITE_CHILD";

pub(crate) fn build(name: &str) -> BuildId {
    BuildId::new(name).unwrap()
}

/// The append of a build that comes after so many others.
pub(crate) async fn append(db: &SqliteDb, name: &str, after: u64) -> Result<Seq, Error> {
    let event = || Event::StepSkipped { step: StepId(7) };
    let entries = [0, 1, 2].map(|i| Entry { at: Timestamp(after * EVENTS + i), event: event() });
    db.store().append(&build(name), Seq(after * EVENTS), &entries).await
}

/// How many appends a build has; fails if one is there in part, or at another place.
pub(crate) async fn loaded(db: &SqliteDb, name: &str) -> Result<u64, Error> {
    let journal = match db.store().load(&build(name), Seq::START).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        journal => journal?,
    };
    for (i, recorded) in journal.iter().enumerate() {
        assert_eq!((recorded.seq.0, recorded.at.0), (i as u64 + 1, i as u64));
    }
    assert_eq!(journal.len() as u64 % EVENTS, 0, "a part of an append");
    Ok(journal.len() as u64 / EVENTS)
}

pub(crate) fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

/// What this process was told, if it is a child.
pub(crate) fn told() -> Option<PathBuf> {
    std::env::var_os(TOLD).map(PathBuf::from)
}

/// This program as another process, running one test. Killed when dropped.
pub(crate) struct Child(process::Child);

impl Child {
    pub(crate) fn new(test: &str, tell: impl AsRef<OsStr>) -> Self {
        Self::start(Command::new(std::env::current_exe().unwrap()), test, tell)
    }

    /// As `new`, by a command that takes a directory and the program.
    pub(crate) fn under(by: &[&str], dir: &Path, test: &str, tell: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(dir).arg(std::env::current_exe().unwrap());
        Self::start(command, test, tell)
    }

    fn start(mut command: Command, test: &str, tell: impl AsRef<OsStr>) -> Self {
        command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
        Self(command.env(TOLD, tell).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    /// What it says after a word. The harness may have begun the line.
    pub(crate) fn said(
        &mut self,
        word: &'static str,
    ) -> impl Iterator<Item = String> + Send + 'static {
        let after = move |line: String| line.split_once(word).map(|(_, said)| said.to_owned());
        self.lines().filter_map(after)
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + Send + 'static {
        BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok)
    }

    /// Waits for its end: whether it succeeded, and what it said.
    pub(crate) fn output(mut self) -> (bool, String) {
        let mut said: Vec<String> = self.lines().collect();
        said.extend(BufReader::new(self.0.stderr.take().unwrap()).lines().map_while(Result::ok));
        (self.0.wait().unwrap().success(), said.join("\n"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
