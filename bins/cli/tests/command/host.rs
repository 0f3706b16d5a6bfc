//! A real server beside the tests.

use crate::bench::{Bench, Said};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A server with a data directory and a port of its own, which it keeps when it starts anew.
pub(crate) struct Host {
    data: TempDir,
    port: u16,
    child: Option<Child>,
}

/// The server's program, which is built beside the command's.
fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_kiln")).with_file_name("kiln-server")
}

impl Host {
    /// Starts a server; none, and a word why, where it was not built.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let mut host = Self::idle(test)?;
        host.wake();
        Some(host)
    }

    /// A server that does not run yet.
    pub(crate) fn idle(test: &str) -> Option<Self> {
        if !program().exists() {
            assert!(
                std::env::var_os("KILN_TEST_REAL").is_none(),
                "there is no {}: run `cargo build -p kiln-server`",
                program().display()
            );
            println!("SKIPPED: {test}: kiln-server is not built");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        Some(Self { data: tempfile::tempdir().unwrap(), port, child: None })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--data").arg(self.data.path()).args(args);
        command.env("KILN_GIT_ALLOW_FILE", "true").env("KILN_LOG", "info");
        command.env("KILN_GIT_ALLOW_PRIVATE_NETWORK", "true");
        command.env_remove("KILN_CONFIG").env("HOME", self.data.path());
        command
    }

    /// Starts it and waits until it takes requests.
    pub(crate) fn wake(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = self.command(&["--listen", &listen]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {said:?}"));
            said.push(line.unwrap());
            if said.iter().any(|line| line.contains("address=")) {
                break;
            }
        }
        // Whoever does not read what a process says stops it in the end.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    /// Ends it as hard as can be.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, bench: &Bench, name: &str) {
        bench.signal(self.child.as_ref().unwrap(), name);
    }

    /// Makes a token by the server's own command.
    pub(crate) fn token(&self, name: &str, scope: &str) -> String {
        let args = ["token", "create", name, "--owner", "ann", "--scope", scope];
        let made: Said = self.command(&args).output().unwrap().into();
        assert_eq!(made.code, 0, "{made:?}");
        made.out.trim().to_owned()
    }

    /// The command, working with this server.
    pub(crate) fn kiln(&self, bench: &Bench, args: &[&str]) -> Said {
        self.asked(bench, args).output().unwrap().into()
    }

    pub(crate) fn asked(&self, bench: &Bench, args: &[&str]) -> Command {
        let mut command = bench.command(args);
        command.env("KILN_SERVER", self.url());
        command
    }

    /// The command, begun; its output can be taken at its end.
    pub(crate) fn begin(&self, bench: &Bench, args: &[&str]) -> Child {
        let mut command = self.asked(bench, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}
