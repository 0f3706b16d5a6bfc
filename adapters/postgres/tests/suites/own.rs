//! A server of a test's own, to be killed and started again. It writes as PostgreSQL does unless
//! told otherwise.

use crate::common::{connected, real};
use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a start may take, with what a crash left to be put right.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server. It is killed and gone when dropped.
#[derive(Debug)]
pub(crate) struct Own {
    dir: tempfile::TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    settings: Vec<String>,
    running: Option<Child>,
}

impl Own {
    /// A new one that runs; says so if there is no program for it.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        Self::with(test, |_| Vec::new()).await
    }

    /// As `new`, with settings that may name files in the server's directory.
    pub(crate) async fn with(
        test: &str,
        settings: impl FnOnce(&Path) -> Vec<String>,
    ) -> Option<Self> {
        if !real(test) {
            return None;
        }
        let Some(programs) = programs() else {
            println!("SKIPPED: {test}: there is no program `initdb` on this machine");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("kiln-postgres-").tempdir().unwrap();
        let owner = owner(dir.path());
        if let Some((user, group)) = owner {
            chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings(dir.path());
        for file in fs::read_dir(dir.path()).unwrap().flatten() {
            if let Some((user, group)) = owner {
                chown(file.path(), Some(user), Some(group)).unwrap();
            }
        }
        let mut own = Self { dir, programs, owner, port, settings, running: None };
        let made = own
            .command("initdb")
            .args(["-A", "trust", "-U", "kiln", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(own.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        own.start().await;
        Some(own)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("db")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    pub(crate) fn url_at(&self, host: &str) -> String {
        format!("postgres://kiln@{host}:{}/postgres", self.port)
    }

    /// Stops all of it for a while, or lets it go on.
    pub(crate) fn pause(&self, pause: bool) {
        let server = self.running.as_ref().unwrap().id();
        let mut all = children(server);
        all.push(server.to_string());
        let signal = if pause { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").arg(signal).args(&all).status().unwrap().success());
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "the server does not start");
            let running = self.running.as_mut();
            // After a kill the first one ends: what it shared with its children is there still.
            if running.is_none_or(|child| child.try_wait().unwrap().is_some()) {
                let mut command = self.command("postgres");
                command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
                command.args([
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "unix_socket_directories=",
                ]);
                for setting in &self.settings {
                    command.args(["-c", setting]);
                }
                let log = fs::File::create(self.dir.path().join("log")).unwrap();
                command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
                self.running = Some(command.spawn().unwrap());
            }
            if connected(&self.url()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it and all its children without a warning, as a crash of the machine does.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        // Those that are left alone end by themselves, but may answer before they do.
        let children = children(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = Command::new("kill").arg("-9").args(&children).output().unwrap();
        // One that ended and that nobody has asked for is a zombie.
        let there = |pid: &String| stat(pid).is_some_and(|(state, _)| state != "Z");
        let begin = Instant::now();
        while children.iter().any(there) {
            assert!(begin.elapsed() < PATIENCE, "{children:?} do not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.dir.path());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // What is killed while it pauses ends too.
        self.kill();
    }
}

/// The state of a process, and its parent.
fn stat(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`, and a name may hold anything.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
    Some((rest.next()?, rest.next()?))
}

/// The children of a process.
fn children(of: u32) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().into_string().ok());
    let is_child = |pid: &String| stat(pid).is_some_and(|(_, parent)| parent == of.to_string());
    pids.filter(is_child).collect()
}

/// Where the programs of the server are: beside the real one in PATH, or where Debian keeps them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    places.push("/usr/local/bin".into());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.extend(versions.map(|version| version.path().join("bin")));
    places
        .into_iter()
        .filter_map(|dir| fs::canonicalize(dir.join("postgres")).ok())
        .filter_map(|server| Some(server.parent()?.to_owned()))
        .find(|dir| dir.join("initdb").is_file())
}

/// Who has to run it: PostgreSQL refuses to be root.
fn owner(of_root: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
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
