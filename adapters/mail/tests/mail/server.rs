//! A real mail server for one test: aiosmtpd, run by Python.

use kiln::{BuildId, Seq};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A mail server that ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn runs(program: &str, args: &[&str]) -> bool {
    let ran = Command::new(program).args(args).output();
    ran.is_ok_and(|ran| ran.status.success())
}

/// A Python that has the server. The first in the path need not be the one that the system's
/// packages are for.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|p| runs(p, &["-c", "import aiosmtpd"]))
}

/// Whether the parts of a test are there; says so if not, and why the test is skipped.
pub(crate) fn is_here(test: &str) -> bool {
    let reason = if python().is_none() {
        "no python3 has aiosmtpd"
    } else if !runs("openssl", &["version"]) {
        "there is no openssl to make a certificate"
    } else {
        return true;
    };
    println!("SKIPPED: {test}: {reason}");
    false
}

/// A certificate for this machine that signs for itself, and its key.
fn certificate(dir: &Path) -> [PathBuf; 2] {
    let [cert, key] = ["cert.pem", "key.pem"].map(|f| dir.join(f));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [cert, key]
}

impl Server {
    /// A server; one that is `guarded` wants STARTTLS and a login.
    pub(crate) fn start(guarded: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut python = Command::new(python().unwrap());
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/server.py"));
        python.arg(dir.path().join("mails")).stdin(Stdio::piped()).stdout(Stdio::piped());
        if guarded {
            python.args(certificate(dir.path()));
        }
        let mut child = python.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { port: port.trim().parse().unwrap(), dir, child }
    }

    /// The certificate of a guarded server.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// The mails that it took, in order.
    pub(crate) fn mails(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("mails")).unwrap_or_default();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// Who got mail, in order.
    pub(crate) fn readers(&self) -> Vec<String> {
        self.mails().iter().map(|m| m["to"][0].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn told(&self) -> Vec<(BuildId, Seq)> {
        let header = |mail: &Value, name: &str| {
            let data = mail["data"].as_str().unwrap();
            let line = data.lines().find_map(|l| l.strip_prefix(name));
            line.unwrap().trim_start_matches(": ").to_owned()
        };
        let of = |mail: &Value| {
            let build = BuildId::new(header(mail, "X-Kiln-Build")).unwrap();
            (build, Seq(header(mail, "X-Kiln-Seq").parse().unwrap()))
        };
        self.mails().iter().map(of).collect()
    }
}
