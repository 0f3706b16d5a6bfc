//! Processes in containers, started by the engine: how commands and our own scripts come there.

use super::DockerRuntime;
use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use bytes::BytesMut;
use futures::{StreamExt, stream::BoxStream};
use kiln::{Error, ErrorKind, Result};
use std::{
    pin::Pin,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWrite, time::sleep};

/// How long to wait for a box that is paused.
const PAUSED_MAX: Duration = Duration::from_secs(600);
/// How often to look whether a box is paused still.
const PAUSED_EVERY: Duration = Duration::from_millis(50);
/// The longest answer of one of our own scripts.
const ANSWER_MAX: usize = 2 << 20;

/// What a process prints.
pub(super) type Chunks = BoxStream<'static, std::result::Result<LogOutput, bollard::errors::Error>>;
/// What it reads.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

impl DockerRuntime {
    /// Starts an exec and returns what it prints.
    pub(super) async fn begin(
        &self,
        container: &str,
        options: CreateExecOptions<String>,
        op: &'static str,
    ) -> Result<Chunks> {
        Ok(self.attach(container, options, op).await?.0)
    }

    /// Starts an exec and returns what it prints and reads.
    pub(super) async fn attach(
        &self,
        container: &str,
        options: CreateExecOptions<String>,
        op: &'static str,
    ) -> Result<(Chunks, Input)> {
        let docker = self.client.docker();
        let id = self.prepare(container, options, op).await?;
        let start = StartExecOptions { output_capacity: Some(64 << 10), ..Default::default() };
        match docker.start_exec(&id, Some(start)).await.map_err(|e| self.client.error(op, e))? {
            StartExecResults::Attached { output, input } => Ok((output.boxed(), input)),
            StartExecResults::Detached => {
                Err(Error::new(ErrorKind::Unexpected, op, "the engine did not attach"))
            }
        }
    }

    /// Makes an exec. A commit pauses the box for a while, and nothing starts in it meanwhile.
    async fn prepare(
        &self,
        container: &str,
        options: CreateExecOptions<String>,
        op: &'static str,
    ) -> Result<String> {
        let docker = self.client.docker();
        let begun = Instant::now();
        loop {
            let made = docker.create_exec(container, options.clone()).await;
            let e = match made {
                Ok(made) => return Ok(made.id),
                Err(e) => self.client.error(op, e).with("container", container),
            };
            if e.kind() != ErrorKind::Conflict || !self.is_paused(container).await {
                return Err(e);
            }
            if begun.elapsed() > PAUSED_MAX {
                return Err(Error::new(ErrorKind::Unavailable, op, "the box stays paused")
                    .with("container", container)
                    .hint("Let it go on with `docker unpause`."));
            }
            sleep(PAUSED_EVERY).await;
        }
    }

    async fn is_paused(&self, container: &str) -> bool {
        let found = self.client.docker().inspect_container(container, None).await;
        found.is_ok_and(|c| c.state.and_then(|s| s.paused) == Some(true))
    }

    /// Runs one of our own short scripts, and returns its standard output.
    pub(super) async fn ask(
        &self,
        container: &str,
        options: CreateExecOptions<String>,
        op: &'static str,
    ) -> Result<Vec<u8>> {
        let mut chunks = self.begin(container, options, op).await?;
        let mut answer = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            if let LogOutput::StdOut { message } = chunk.map_err(|e| self.client.error(op, e))?
                && answer.len() < ANSWER_MAX
            {
                answer.extend_from_slice(&message);
            }
        }
        Ok(answer.into())
    }

    /// Whether the kernel killed a process of the box for want of memory. The engine does not say
    /// it of a container that goes on.
    pub(super) async fn ran_out_of_memory(&self, container: &str) -> bool {
        let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
        let cmd = ["cat"].into_iter().chain(files).map(str::to_owned).collect();
        let options = CreateExecOptions {
            cmd: Some(cmd),
            attach_stdout: Some(true),
            ..CreateExecOptions::default()
        };
        let counters = self.ask(container, options, "Runtime::exec").await.unwrap_or_default();
        let counters = String::from_utf8_lossy(&counters);
        let mut counts = counters.lines().filter_map(|l| l.strip_prefix("oom_kill "));
        counts.any(|count| count.trim() != "0")
    }
}
