//! A server of a test's own: started with its settings, killed, paused, and gone with the test.

use kiln_redis::{RedisConfig, RedisDb};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The password of every server here: with marks that a URL has to escape.
pub(crate) const PASSWORD: &str = "hunter2@/%";
/// Names another program to start, such as `valkey-server`.
pub(crate) const PROGRAM: &str = "KILN_TEST_REDIS_SERVER";
/// Settings with which nothing acknowledged is lost.
pub(crate) const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// A server. Its data outlives `kill`, and not this.
pub(crate) struct Server {
    program: PathBuf,
    dir: tempfile::TempDir,
    settings: Vec<String>,
    port: u16,
    child: Child,
    pid: u32,
}

/// Where a program is.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file())
}

#[expect(clippy::print_stdout, reason = "the test command reads it")]
pub(crate) fn skipped(test: &str, why: &str) {
    println!("SKIPPED: {test}: {why}");
}

impl Server {
    /// Starts a server with settings as on its command line; says so if there is none.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let name = std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".into());
        let Some(program) = program(&name) else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            skipped(&test, &format!("there is no {name}"));
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        // A port is free only until somebody else takes it.
        let started = (0..10).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let (child, pid) = spawn(&program, dir.path(), &settings, port)?;
            Some((port, child, pid))
        });
        let (port, child, pid) = started.expect("a server on one of ten ports");
        Some(Self { program, dir, settings, port, child, pid })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/1", "hunter2%40%2F%25", self.port)
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::new(&self.url()).unwrap()
    }

    pub(crate) async fn connect(&self) -> RedisDb {
        RedisDb::connect(self.config()).await.unwrap()
    }

    /// A connection beside the adapter's.
    pub(crate) fn raw(&self) -> redis::Connection {
        raw(self.port, 1).unwrap()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid.to_string()]).status();
        assert!(status.unwrap().success(), "no {signal} for the server");
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&self) {
        self.signal("-KILL");
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(60), "the server is not dead");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it answer nobody, and again.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Starts it again with other settings.
    pub(crate) fn restart_with(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|s| (*s).to_owned()).collect();
        self.restart();
    }

    /// Starts it again, on the data that it wrote.
    pub(crate) fn restart(&mut self) {
        let (child, pid) =
            spawn(&self.program, self.dir.path(), &self.settings, self.port).unwrap();
        let mut old = std::mem::replace(&mut self.child, child);
        self.pid = pid;
        drop(old.stdin.take());
        old.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Starts the program below a shell that kills it when this process ends, however it does.
fn spawn(program: &Path, dir: &Path, settings: &[String], port: u16) -> Option<(Child, u32)> {
    let script =
        r#""$@" >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -KILL $! 2>/dev/null; true"#;
    let mut child = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--requirepass", PASSWORD])
        .args(["--save", "", "--logfile", "server.log", "--dir"])
        .arg(dir)
        .args(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = line.trim().parse().unwrap();
    let start = Instant::now();
    while raw(port, 0).is_none() {
        let runs = Path::new("/proc").join(line.trim()).exists();
        if !runs || start.elapsed() > Duration::from_secs(60) {
            drop(child.stdin.take());
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Some((child, pid))
}

/// A connection to the server that is ours and ready.
fn raw(port: u16, database: u8) -> Option<redis::Connection> {
    let mut url = url::Url::parse(&format!("redis://127.0.0.1/{database}")).unwrap();
    url.set_port(Some(port)).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    let mut connection = redis::Client::open(url).unwrap().get_connection().ok()?;
    redis::cmd("PING").query::<String>(&mut connection).ok()?;
    Some(connection)
}
