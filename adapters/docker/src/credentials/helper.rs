//! Programs that keep logins: `docker-credential-NAME`.
//!
//! Source of the protocol: `github.com/docker/docker-credential-helpers`, "Development". The key
//! goes in by standard input, never as an argument, which everybody on the machine could read.

use super::{OP, as_docker, by_token};
use crate::error::has_no_login;
use bollard::auth::DockerCredentials;
use kiln::{Error, ErrorKind, Result, Secret, secret::Credentials};
use serde::Deserialize;
use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

/// How long one question to a helper may take. It may have to ask its user.
const HELPER_TIME: Duration = Duration::from_secs(20);
/// How much a helper may say. Tokens are long, but not that long.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A program that keeps logins.
#[derive(Debug)]
pub(super) struct Helper {
    program: PathBuf,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "Username")]
    username: String,
    #[serde(default, rename = "Secret")]
    secret: String,
}

impl Helper {
    /// The helper of this name, as the configuration writes it, in a directory or in `PATH`.
    pub(super) fn new(name: &str, dir: Option<&Path>) -> Result<Self> {
        let program = format!("docker-credential-{name}");
        let helper = Self { program: dir.unwrap_or(Path::new("")).join(program) };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(legal) {
            return Err(helper.failed("has a name that is not one"));
        }
        Ok(helper)
    }

    /// The first login it has for one of these keys.
    pub(super) async fn first(&self, keys: &[String]) -> Result<Option<DockerCredentials>> {
        for key in keys {
            if let Some(login) = self.ask(key).await? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    async fn ask(&self, server: &str) -> Result<Option<DockerCredentials>> {
        let (status, said) = match tokio::time::timeout(HELPER_TIME, self.run(server)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => {
                return Err(self.failed("is not installed").hint(
                    "Install it, or take it out of `credsStore` and `credHelpers` in Docker's config.json.",
                ));
            }
            Ok(Err(e)) => return Err(self.failed("cannot be run").source(e.to_string())),
            Err(_) => {
                let seconds = HELPER_TIME.as_secs();
                return Err(self.failed(&format!("did not answer within {seconds} s")));
            }
        };
        if !status.success() {
            // Anything but "none" is trouble, such as a locked keychain. Its words may hold a secret.
            let none = has_no_login(&String::from_utf8_lossy(&said));
            return if none { Ok(None) } else { Err(self.failed("refused")) };
        }
        if said.trim_ascii().is_empty() {
            return Ok(None);
        }
        let answer: Answer = serde_json::from_slice(&said)
            .map_err(|_| self.failed("gave an answer that is not one"))?;
        match (answer.username.as_str(), answer.secret) {
            ("", secret) if secret.is_empty() => Ok(None),
            // The protocol's way to say that the secret is an identity token.
            ("<token>", token) => Ok(Some(by_token(token, server))),
            (_, secret) => {
                let password = Secret::new(secret);
                as_docker(&Credentials { username: answer.username, password }, server).map(Some)
            }
        }
    }

    async fn run(&self, server: &str) -> io::Result<(std::process::ExitStatus, Vec<u8>)> {
        let mut child = Command::new(&self.program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What it says there could be a secret, and the screen is ours.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(server.as_bytes()).await {
                // It may answer without reading.
                Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e),
                _ => {}
            }
        }
        let mut said = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut said).await?;
        }
        Ok((child.wait().await?, said))
    }

    fn failed(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unavailable, OP, format!("the credential helper {what}"))
            .with("helper", self.program.display())
            .status(kiln::Status::Permanent)
            .hint("Run `docker login REGISTRY` again, and see whether the helper works.")
    }
}
