//! What the tests work with: a server, agents, a base image, and what they leave.

use crate::{
    base::{BASE, base_image, output},
    server::{self, AGENT_TOKEN},
};
use futures::{StreamExt, TryStreamExt};
use kiln::{
    Attempts, BoxName, BoxSpec, BuildId, Command as Run, Engine, Event, ImageRef, Op, Owner, Plan,
    Recorded, Seq, Step, Submission,
    port::{Job, LogBody, Offset, Queue, Stream},
};
use kiln_sqlite::SqliteDb;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long anything may take.
const LONG: Duration = Duration::from_secs(120);

/// A bench with a Docker engine; none, and a word why, where it is not wanted.
pub(crate) fn real(test: &str) -> Option<Bench> {
    if std::env::var_os("KILN_TEST_REAL").is_none() {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
        return None;
    }
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(base_image);
    Some(Bench::plain())
}

/// A server, which can be killed and started again on the same address.
pub(crate) struct Bench {
    pub(crate) data: TempDir,
    address: String,
    server: Option<Child>,
    pub(crate) engine: Engine,
    db: SqliteDb,
}

impl Bench {
    pub(crate) fn plain() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (engine, db) = server::open(data.path());
        // Free now, and with luck still in a moment: nobody else is given it twice in a row.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let mut bench = Self { data, address, server: None, engine, db };
        bench.start_server();
        bench
    }

    pub(crate) fn start_server(&mut self) {
        self.server = Some(server::start(&self.address, self.data.path()));
    }

    /// Kills the server without a warning.
    pub(crate) fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// An agent that is not started yet, with a directory of its own.
    pub(crate) fn agent(&self, name: &str) -> Agent {
        let dir = self.data.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("token"), format!("{AGENT_TOKEN}\n")).unwrap();
        let server = format!("http://{}", self.address);
        let agent = Agent { name: name.into(), server, dir, child: None };
        agent.lease_for(3);
        agent
    }

    /// Where builds wait.
    pub(crate) fn queue(&self) -> impl Queue {
        self.db.queue()
    }

    /// Accepts and queues a build of one step, a script in a box.
    pub(crate) async fn submit(&self, script: &str, attempts: u8) -> BuildId {
        let mut plan = Plan::builder();
        let name = BoxName::new("main").unwrap();
        plan.add_box(name.clone(), BoxSpec::new(ImageRef::parse(BASE).unwrap()));
        let exec = Op::Exec { in_box: name, command: Run::script(script) };
        plan.step(Step::new("run", exec).attempts(Attempts { max: attempts, backoff_ms: 10 }));
        let plan: Plan = plan.finish().unwrap();
        let build = self.engine.accept(Submission::new(plan)).await.unwrap();
        self.db.queue().push(Job::new(build.clone(), Owner::local())).await.unwrap();
        build
    }

    /// Waits for an event of a build; returns the journal up to it.
    pub(crate) async fn until(
        &self,
        build: &BuildId,
        what: impl Fn(&Event) -> bool,
    ) -> Vec<Recorded> {
        let mut seen = Vec::new();
        let mut events = self.engine.events(build, Seq::START);
        let wait = async {
            while let Some(event) = events.next().await {
                seen.push(event.unwrap());
                if seen.last().is_some_and(|r| what(&r.event)) {
                    return true;
                }
            }
            false
        };
        let came = tokio::time::timeout(LONG, wait).await;
        assert_eq!(came, Ok(true), "it did not come; so far: {seen:?}");
        seen
    }

    /// Waits until a build has printed something.
    pub(crate) async fn until_printed(&self, build: &BuildId, words: &str) {
        let begin = Instant::now();
        let mut records = self.engine.log(build, Offset(0));
        let mut all = String::new();
        while !all.contains(words) {
            assert!(begin.elapsed() < LONG, "it was never printed");
            let record = tokio::time::timeout(LONG, records.next()).await.expect("nothing printed");
            if let Some(Ok(record)) = record
                && let LogBody::Bytes { data, .. } = record.body
            {
                all.push_str(&String::from_utf8_lossy(&data));
            }
        }
    }

    /// What an attempt of the step printed, to the end of the log. No byte may be missing.
    pub(crate) async fn printed(&self, build: &BuildId, attempt: u8) -> String {
        let records: Vec<_> = self.engine.log(build, Offset(0)).try_collect().await.unwrap();
        let mut all = Vec::new();
        for record in records {
            match record.body {
                LogBody::Bytes { stream: Stream::Stdout, data } if record.attempt == attempt => {
                    all.extend_from_slice(&data);
                }
                LogBody::Gap { .. } => panic!("a gap: {record:?}"),
                _ => {}
            }
        }
        String::from_utf8(all).unwrap()
    }

    /// The containers, networks and volumes of a build.
    pub(crate) fn left(build: &BuildId) -> Vec<String> {
        let filter = format!("label=dev.kiln.build={build}");
        let lists: [&[&str]; 3] = [
            &["ps", "-aq", "--filter", &filter],
            &["network", "ls", "-q", "--filter", &filter],
            &["volume", "ls", "-q", "--filter", &filter],
        ];
        let lines = lists.map(|list| String::from_utf8(output("docker", list).stdout).unwrap());
        lines.iter().flat_map(|out| out.lines().map(str::to_owned)).collect()
    }

    /// Nothing of a build is on the host a minute after its end.
    pub(crate) fn assert_swept(build: &BuildId, agents: &[&Agent]) {
        let begin = Instant::now();
        loop {
            let mut left = Self::left(build);
            left.extend(agents.iter().flat_map(|agent| agent.workspaces()));
            if left.is_empty() {
                println!("nothing was left after {:?}", begin.elapsed());
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "left: {left:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.kill_server();
    }
}

/// An agent of the server, as a process.
pub(crate) struct Agent {
    name: String,
    server: String,
    pub(crate) dir: std::path::PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// The command, with nothing of the user's own but where the engine is.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln-agent"));
        command.args(["--server", &self.server, "--name", &self.name, "--slots", "2"]);
        command.arg("--token-file").arg(self.dir.join("token"));
        command.arg("--config").arg(self.dir.join("agent.toml"));
        command.arg("--data").arg(self.dir.join("data")).args(more);
        command.env("HOME", &self.dir).env("DOCKER_CONFIG", self.dir.join("docker"));
        command.env("KILN_LOG", "info").stdin(Stdio::null());
        command
    }

    /// From its next start on, its leases last so many seconds without renewal.
    pub(crate) fn lease_for(&self, seconds: u32) {
        let settings = format!("lease_seconds = {seconds}\n");
        fs::write(self.dir.join("agent.toml"), settings).unwrap();
    }

    pub(crate) fn start(&mut self, more: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log"));
        let mut command = self.command(more);
        command.stdout(Stdio::null()).stderr(log.unwrap());
        self.child = Some(command.spawn().unwrap());
    }

    /// What it said of itself so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Waits until it says something.
    pub(crate) fn until_said(&self, words: &str) {
        let begin = Instant::now();
        while !self.said().contains(words) {
            assert!(begin.elapsed() < LONG, "it never said {words:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let begin = Instant::now();
        let child = self.child.as_mut().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < LONG, "it did not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn workspaces(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("data/work")).into_iter().flatten();
        entries.map(|e| e.unwrap().path().display().to_string()).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{} said:\n{}", self.name, self.said());
        }
        self.kill();
    }
}
