//! A service whose program cannot be installed, run from an image that the engine already has.

use super::engine::docker;
use super::start::Place;
use crate::error::{Context, Failure, Result};
use crate::process::wait_until;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Whether the engine has the image; nothing is pulled.
pub(super) fn has_image(image: &str) -> bool {
    quiet(docker().args(["image", "inspect", image])).is_ok()
}

/// Whether the container runs.
pub(super) fn is_running(id: &str) -> bool {
    quiet(docker().args(["inspect", "--format", "{{.State.Running}}", id]))
        .is_ok_and(|answer| answer == "true")
}

/// Removes the container with its anonymous volumes. One that is gone is removed.
pub(super) fn remove(id: &str) -> Result<()> {
    match quiet(docker().args(["rm", "--force", "--volumes", id])) {
        Err(error) if !error.to_string().contains("No such container") => Err(error),
        _ => Ok(()),
    }
}

/// How an image becomes a service.
#[derive(Debug, Default)]
pub(super) struct Image<'a> {
    pub(super) name: &'a str,
    /// The port it listens on inside.
    pub(super) port: u16,
    /// Directories, and where they are inside.
    pub(super) mounts: &'a [(&'a Path, &'a str)],
    /// Handed over by name, so that no value is in a process list.
    pub(super) env: &'a [(&'a str, &'a str)],
    /// Its own if there is none.
    pub(super) entrypoint: Option<&'a str>,
    pub(super) command: &'a [&'a str],
}

/// Runs the image and waits until it answers: its address here and the container's id.
pub(super) fn run(
    place: &Place<'_>,
    ip: IpAddr,
    image: &Image<'_>,
    ready: impl Fn(SocketAddr) -> bool,
) -> Result<(SocketAddr, String)> {
    let addr = SocketAddr::new(ip, place.free_port(ip, &[])?);
    let nickname = place.layout.nickname();
    let mut run = docker();
    run.args(["run", "--detach", "--pull", "never"]);
    run.args(["--name", &format!("kiln-services-{nickname}-{}", place.name)]);
    run.args(["--label", &format!("kiln.services={nickname}")]);
    run.args(["--publish", &format!("{addr}:{}", image.port)]);
    for (outside, inside) in image.mounts {
        run.arg("--volume").arg(format!("{}:{inside}", outside.display()));
    }
    // What it writes there has to be ours to remove.
    #[cfg(unix)]
    if let Some((outside, _)) = image.mounts.first() {
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(outside).context("cannot look at the data directory")?;
        run.args(["--user", &format!("{}:{}", owner.uid(), owner.gid())]);
    }
    for (name, value) in image.env {
        run.args(["--env", name]).env(name, value);
    }
    if let Some(entrypoint) = image.entrypoint {
        run.args(["--entrypoint", entrypoint]);
    }
    let id = quiet(run.arg(image.name).args(image.command))?;
    if wait_until(Duration::from_secs(30), || ready(addr)) {
        return Ok((addr, id));
    }
    let logs =
        docker().args(["logs", "--tail", "12", &id]).output().context("cannot run docker")?;
    remove(&id)?;
    let text = [logs.stdout, logs.stderr].concat();
    Err(Failure::task(format!(
        "{} does not answer:\n{}",
        image.name,
        String::from_utf8_lossy(&text)
    )))
}

/// Standard output without its line end, or standard error as the failure.
fn quiet(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run docker")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(Failure::task(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
