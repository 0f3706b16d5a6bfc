//! A store as a process of a test's own, which can be paused, killed, and started again on the same
//! data.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the bucket is called, and who may use it.
const BUCKET: &str = "kiln";
const KEY: &str = "key";
const SECRET: &str = "kept by a test";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Redis,
    S3,
}

/// The store. It is killed and gone when dropped.
#[derive(Debug)]
pub(crate) struct Store {
    kind: Kind,
    dir: tempfile::TempDir,
    program: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    running: Option<Child>,
}

impl Store {
    /// A new one that runs; says so if there is no program for it.
    pub(crate) fn start(test: &str, kind: Kind) -> Option<Self> {
        let found = match kind {
            Kind::Postgres => postgres(),
            Kind::Redis => in_path("redis-server"),
            Kind::S3 => of_service("s3"),
        };
        let Some(program) = found else {
            println!("SKIPPED: {test}: there is no program for {kind:?} on this machine");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("kiln-outage-").tempdir().unwrap();
        let owner = if kind == Kind::Postgres { owner(dir.path()) } else { None };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut store = Self { kind, dir, program, owner, port, running: None };
        store.prepare();
        store.begin();
        Some(store)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn prepare(&self) {
        let dir = self.dir.path();
        if let Some((user, group)) = self.owner {
            chown(dir, Some(user), Some(group)).unwrap();
        }
        match self.kind {
            Kind::Postgres => {
                let mut initdb = self.command(&self.program.with_file_name("initdb"));
                initdb.args(["-A", "trust", "-U", "kiln", "-E", "UTF8", "--no-locale"]);
                let made = initdb.args(["--no-sync", "-D"]).arg(self.data()).output().unwrap();
                assert!(made.status.success(), "{made:?}");
            }
            Kind::Redis => fs::create_dir(self.data()).unwrap(),
            Kind::S3 => fs::create_dir_all(self.data().join(BUCKET)).unwrap(),
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn spawn(&self) -> Child {
        let mut command = self.command(&self.program);
        let (port, data) = (self.port.to_string(), self.data());
        match self.kind {
            Kind::Postgres => {
                command.arg("-D").arg(data).args(["-p", &port, "-c", "unix_socket_directories="]);
                command.args(["-c", "listen_addresses=127.0.0.1"])
            }
            Kind::Redis => {
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
                command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(data)
            }
            Kind::S3 => {
                command.args(["--host", "127.0.0.1", "--port", &port, "--access-key", KEY]);
                command.args(["--secret-key", SECRET, "--domain", &format!("127.0.0.1:{port}")]);
                command.arg(data)
            }
        };
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn begin(&mut self) {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "it does not start:\n{}", self.said());
            // After a kill the first one may end: what it shared with its children is there still.
            let running = self.running.as_mut();
            if running.is_none_or(|child| child.try_wait().unwrap().is_some()) {
                self.running = Some(self.spawn());
            }
            sleep(Duration::from_millis(50));
            let lives = self.running.as_mut().is_some_and(|c| c.try_wait().unwrap().is_none());
            if lives && TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Its process and then those that it started.
    fn all(&self) -> Vec<u32> {
        let server = self.running.as_ref().unwrap().id();
        let mut all = vec![server];
        all.extend(children(server));
        all
    }

    fn signal(&self, signal: Signal) {
        for pid in self.all() {
            let pid = Pid::from_raw(pid.cast_signed()).unwrap();
            // A child may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }

    /// Lets it answer nobody.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        // Once more: one may have been started before the first was stopped.
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it and all its children without a warning, as a crash of the machine does.
    pub(crate) fn kill(&mut self) {
        if self.running.is_none() {
            return;
        }
        let all = self.all();
        self.signal(Signal::KILL);
        if let Some(mut child) = self.running.take() {
            child.wait().unwrap();
        }
        let begin = Instant::now();
        while all.iter().any(|pid| stat(*pid).is_some_and(|(state, _)| state != "Z")) {
            assert!(begin.elapsed() < PATIENCE, "{all:?} do not end");
            sleep(Duration::from_millis(2));
        }
    }

    /// What the settings of a server say of it.
    pub(crate) fn settings(&self) -> String {
        let at = format!("127.0.0.1:{}", self.port);
        match self.kind {
            Kind::Postgres => format!("[store]\nurl = \"postgres://kiln@{at}/postgres\"\n"),
            Kind::Redis => format!("[store]\nurl = \"redis://{at}/0\"\n"),
            Kind::S3 => {
                let place = format!("s3://{BUCKET}/t?endpoint=http://{at}&region=us-east-1");
                format!("[artifacts]\nurl = \"{place}\"\n")
            }
        }
    }

    /// What a server needs in its environment to use it.
    pub(crate) fn variables(&self) -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What is killed while it pauses ends too.
        self.kill();
    }
}

/// The state of a process, and its parent.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`, and a name may hold anything.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    Some((rest.next()?.to_owned(), rest.next()?.parse().ok()?))
}

/// The children of a process.
fn children(of: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == of)).collect()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The program of PostgreSQL with its others beside it: where PATH leads, or where Debian keeps it.
fn postgres() -> Option<PathBuf> {
    let mut places: Vec<_> = in_path("postgres").into_iter().collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.extend(versions.map(|version| version.path().join("bin/postgres")));
    let real = places.into_iter().filter_map(|path| fs::canonicalize(path).ok());
    real.into_iter().find(|path| path.with_file_name("initdb").is_file())
}

/// The program of a service that runs for the tests: not everyone is in PATH.
fn of_service(name: &str) -> Option<PathBuf> {
    let file = fs::read(std::env::var_os("KILN_TEST_SERVICES")?).unwrap();
    let all: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let pid = all["services"][name]["pid"].as_u64()?;
    fs::read_link(format!("/proc/{pid}/exe")).ok().filter(|path| path.is_file())
}

/// Who has to run PostgreSQL, which refuses to be root.
fn owner(of_root: &Path) -> Option<(u32, u32)> {
    if fs::metadata(of_root).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}
