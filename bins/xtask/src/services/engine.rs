//! A Docker engine: the one that is here, or a private one.

use super::{Entry, Place};
use crate::error::{Failure, Result};
use crate::http;
use crate::packages::{self, DOCKER_ENGINE};
use crate::process::{program, spawn_detached};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const DEFAULT: &str = "unix:///var/run/docker.sock";

/// The engine that `up` found or started, once this process knows it.
static PRIVATE: OnceLock<String> = OnceLock::new();

/// A docker command that talks to the engine in use.
pub(crate) fn docker() -> Command {
    let mut command = Command::new(program("docker").unwrap_or_else(|| "docker".into()));
    command.env("DOCKER_HOST", engine_url());
    command
}

/// The address of the engine in use.
pub(crate) fn engine_url() -> String {
    let named = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    named.or_else(|| PRIVATE.get().cloned()).unwrap_or_else(|| DEFAULT.into())
}

/// Whether an engine answers at this address.
pub(crate) fn answers(url: &str) -> bool {
    ask(url, "/_ping").is_ok_and(|(status, _)| status == 200)
}

/// From now on this engine is the one in use.
pub(super) fn remember(url: &str) {
    let _ = PRIVATE.set(url.to_owned());
}

fn ask(url: &str, path: &str) -> io::Result<(u16, String)> {
    if let Some(socket) = url.strip_prefix("unix://") {
        return http::get_unix(Path::new(socket), path);
    }
    let addr = url.strip_prefix("tcp://").and_then(|host| host.to_socket_addrs().ok()?.next());
    match addr {
        Some(addr) => http::get(addr, path),
        None => Err(io::Error::new(io::ErrorKind::Unsupported, format!("cannot ask {url}"))),
    }
}

/// The bridge's address on this machine.
pub(super) fn bridge() -> Option<IpAddr> {
    let (_, body) = ask(&engine_url(), "/networks/bridge").ok()?;
    let network: Value = serde_json::from_str(&body).ok()?;
    let config = &network["IPAM"]["Config"][0];
    if let Some(gateway) = config["Gateway"].as_str() {
        return gateway.parse().ok();
    }
    // An engine that was not told does not tell: then it is the subnet's first address.
    let (subnet, _) = config["Subnet"].as_str()?.split_once('/')?;
    let first = u32::from(subnet.parse::<Ipv4Addr>().ok()?) + 1;
    Some(Ipv4Addr::from(first).into())
}

/// Finds an engine or starts one.
pub(super) fn start(place: &Place<'_>) -> Result<Entry> {
    if let Ok(host) = std::env::var("DOCKER_HOST")
        && !host.is_empty()
    {
        // TLS and ssh addresses are the docker command's to try.
        if answers(&host) || (!host.starts_with("unix:") && cli_answers()) {
            return Ok(Entry::new(json!({ "url": host })));
        }
        return Err(Failure::task(format!("no engine answers at DOCKER_HOST={host}")));
    }
    for url in candidates() {
        if answers(&url) {
            return Ok(Entry::new(json!({ "url": url })));
        }
    }
    match ask(DEFAULT, "/_ping") {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Failure::task(
            "this user may not talk to /var/run/docker.sock; join the group docker or set DOCKER_HOST",
        )),
        _ => private(place),
    }
}

/// The places where an engine listens without being told.
fn candidates() -> Vec<String> {
    let mut urls = vec![DEFAULT.to_owned()];
    let under =
        |name: &str, rest: &str| std::env::var(name).ok().map(|dir| format!("unix://{dir}/{rest}"));
    urls.extend(under("XDG_RUNTIME_DIR", "docker.sock"));
    urls.extend(under("HOME", ".docker/run/docker.sock"));
    urls
}

fn cli_answers() -> bool {
    docker().arg("version").output().is_ok_and(|output| output.status.success())
}

/// Starts an engine whose every file is under the service's directory.
fn private(place: &Place<'_>) -> Result<Entry> {
    if !packages::is_root() || !cfg!(target_os = "linux") {
        return Err(Failure::task(
            "no Docker engine answers; start one, or set DOCKER_HOST to where it is",
        ));
    }
    packages::ensure(&[DOCKER_ENGINE])?;
    let Some(dockerd) = program("dockerd") else {
        return Err(Failure::task("dockerd is missing; install docker.io"));
    };
    let socket = socket(place);
    let url = format!("unix://{}", socket.display());
    let config = place.data.join("daemon.json");
    let _ = fs::write(&config, "{}\n");
    let mut command = Command::new(dockerd);
    command.arg("--config-file").arg(config);
    command.arg("--data-root").arg(place.data.join("data"));
    command.arg("--exec-root").arg(place.data.join("exec"));
    command.arg("--pidfile").arg(place.data.join("pid"));
    command.arg("--host").arg(&url);
    let process = spawn_detached(command, &place.log)?;
    place.wait(&process, || answers(&url))?;
    let entry = json!({ "url": url, "log": place.log, "data": place.data });
    Ok(Entry::new(entry).with_process(&process))
}

/// A socket's path has at most 107 bytes.
fn socket(place: &Place<'_>) -> PathBuf {
    let near = place.data.join("docker.sock");
    if near.as_os_str().len() <= 100 {
        return near;
    }
    std::env::temp_dir().join(format!("kiln-{}.sock", place.layout.nickname()))
}
