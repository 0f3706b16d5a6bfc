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

/// Runs the image and waits until it answers: its address and the container's id. `env` is handed
/// over by name, so that no value is in a process list.
pub(super) fn run(
    place: &Place<'_>,
    image: &str,
    (ip, inside): (IpAddr, u16),
    mounts: &[(&Path, &str)],
    env: &[(&str, &str)],
    command: &[&str],
    ready: impl Fn(SocketAddr) -> bool,
) -> Result<(SocketAddr, String)> {
    let addr = SocketAddr::new(ip, place.free_port(ip, &[])?);
    let nickname = place.layout.nickname();
    let mut run = docker();
    run.args(["run", "--detach", "--pull", "never"]);
    run.args(["--name", &format!("kiln-services-{nickname}-{}", place.name)]);
    run.args(["--label", &format!("kiln.services={nickname}")]);
    run.args(["--publish", &format!("{addr}:{inside}")]);
    for (outside, inside) in mounts {
        run.arg("--volume").arg(format!("{}:{inside}", outside.display()));
    }
    for (name, value) in env {
        run.args(["--env", name]).env(name, value);
    }
    let id = quiet(run.arg(image).args(command))?;
    if wait_until(Duration::from_secs(30), || ready(addr)) {
        return Ok((addr, id));
    }
    let logs =
        docker().args(["logs", "--tail", "12", &id]).output().context("cannot run docker")?;
    remove(&id)?;
    let text = [logs.stdout, logs.stderr].concat();
    Err(Failure::task(format!("{image} does not answer:\n{}", String::from_utf8_lossy(&text))))
}

/// Standard output without its line end, or standard error as the failure.
fn quiet(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run docker")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(Failure::task(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
