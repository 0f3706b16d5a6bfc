//! The server as a process: started, asked, told to end.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod basics;
mod deploy;
mod kept;
mod listeners;
mod outside;
mod stores;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// A server on a port of its own, killed when the test is over.
struct Server {
    child: Child,
    address: String,
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln-server"));
    command.args(["--data"]).arg(data).env_remove("KILN_CONFIG").env("KILN_LOG", "info");
    command
}

fn run(data: &Path, args: &[&str]) -> Output {
    command(data).args(args).output().unwrap()
}

impl Server {
    fn start(data: &Path) -> Self {
        Self::start_with(data, &["--listen", "127.0.0.1:0"])
    }

    fn start_with(data: &Path, args: &[&str]) -> Self {
        Self::start_with_vars(data, args, &[])
    }

    fn start_with_vars(data: &Path, args: &[&str], vars: &[(&str, String)]) -> Self {
        let mut command = command(data);
        command.args(args).envs(vars.iter().map(|(k, v)| (k, v))).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server ended before it was ready").unwrap();
            if let Some((_, rest)) = line.split_once("address=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        // Whoever does not read what a process says stops it in the end.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Sends a request as it is and returns the answer as it is.
    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let host = &self.address;
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n"
        ))
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let (host, length) = (&self.address, body.len());
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: \
             application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    fn post_as(&self, path: &str, kind: &str, body: &str) -> String {
        let (host, length) = (&self.address, body.len());
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: \
             {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scan, which this server has nothing for: a build that ends without an engine.
const SUBMIT: &str = r#"{"labels": {"a": "b"}, "plan": {"version": 1, "steps": [{"name": "scan",
    "op": "scan", "image": {"reference": "x:1"}, "when": "success", "may_fail": false,
    "attempts": {"max": 1}}]}}"#;

fn status(answer: &str) -> &str {
    answer.split_whitespace().nth(1).unwrap_or("")
}

/// A file of settings in a directory.
fn settings(dir: &Path, text: &str) -> String {
    let file = dir.join("kiln.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}
