//! Waits until a service can be used.
//!
//! A service with a health check is ready when that says so, one with exposed ports when they are
//! open, and any other when it has run for a moment.

use super::DockerRuntime;
use crate::client::DockerClient;
use bollard::{
    exec::CreateExecOptions,
    models::{ContainerInspectResponse, HealthStatusEnum},
    query_parameters::LogsOptions,
};
use futures::StreamExt;
use kiln::{BoxName, Error, ErrorKind, Result, StepCx};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

const OP: &str = "Runtime::start";
/// How long a service may take to become ready.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a service without ports and health check has to run to count as ready.
const ALIVE_MIN: Duration = Duration::from_millis(200);
/// How long to wait for the rest of the ports when one is open: images expose ports that they open
/// only as they are configured.
const REST_MAX: Duration = Duration::from_secs(2);
/// How long to try to reach a port when nothing else tells whether it is open.
const REACH_MAX: Duration = Duration::from_secs(10);
/// How many of its last lines a service that died is quoted with.
const LAST_LINES: &str = "20";

/// What is known of a service while it is waited for.
#[derive(Debug)]
struct Watch {
    since: Instant,
    one_open: Option<Instant>,
}

pub(super) async fn wait(
    runtime: &DockerRuntime,
    cx: &StepCx,
    name: &BoxName,
    id: &str,
) -> Result<()> {
    let mut watch = Watch { since: Instant::now(), one_open: None };
    let mut pause = Duration::from_millis(20);
    loop {
        let found = runtime.client.docker().inspect_container(id, None).await;
        let found = found.map_err(|e| runtime.client.error(OP, e).with("service", name))?;
        let ready = cx.cancel.race(watch.look(runtime, cx, name, id, &found)).await;
        if ready.map_err(|_| cx.cancelled(OP))?? {
            return Ok(());
        }
        if watch.since.elapsed() > READY_MAX {
            let message = format!("a service was not ready within {READY_MAX:?}");
            return Err(dead(runtime, cx, name, id, message).await);
        }
        cx.cancel.race(sleep(pause)).await.map_err(|_| cx.cancelled(OP))?;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

impl Watch {
    async fn look(
        &mut self,
        runtime: &DockerRuntime,
        cx: &StepCx,
        name: &BoxName,
        id: &str,
        found: &ContainerInspectResponse,
    ) -> Result<bool> {
        let state = found.state.clone().unwrap_or_default();
        if state.running != Some(true) {
            let code = state.exit_code.unwrap_or(-1);
            let message = format!("a service ended with exit code {code} before it was ready");
            return Err(dead(runtime, cx, name, id, message).await);
        }
        match state.health.and_then(|h| h.status) {
            Some(HealthStatusEnum::HEALTHY) => return Ok(true),
            Some(HealthStatusEnum::STARTING) => return Ok(false),
            Some(HealthStatusEnum::UNHEALTHY) => {
                let message = "the health check of a service fails".to_owned();
                return Err(dead(runtime, cx, name, id, message).await);
            }
            _ => {}
        }
        let ports = ports(found);
        if ports.is_empty() {
            return Ok(self.since.elapsed() >= ALIVE_MIN);
        }
        let open = match listening(runtime, id).await {
            Some(open) => open,
            None if self.since.elapsed() > REACH_MAX => {
                cx.log.line(format!(
                    "the service {name} runs; whether its ports are open cannot be seen"
                ));
                return Ok(true);
            }
            None => reachable(found, &ports).await,
        };
        let count = ports.intersection(&open).count();
        if count > 0 {
            self.one_open.get_or_insert_with(Instant::now);
        }
        Ok(count == ports.len() || self.one_open.is_some_and(|t| t.elapsed() > REST_MAX))
    }
}

/// The TCP ports that a container exposes.
fn ports(found: &ContainerInspectResponse) -> BTreeSet<u16> {
    let exposed = found.config.as_ref().and_then(|c| c.exposed_ports.as_ref());
    let tcp = |p: &String| p.strip_suffix("/tcp").unwrap_or(p).parse().ok();
    exposed.into_iter().flatten().filter_map(tcp).collect()
}

/// The ports that somebody in a container listens on for others, as its kernel tells; nothing if
/// the container lacks the tool to look.
async fn listening(runtime: &DockerRuntime, id: &str) -> Option<BTreeSet<u16>> {
    let cmd = ["cat", "/proc/net/tcp", "/proc/net/tcp6"].map(str::to_owned).to_vec();
    let options = CreateExecOptions {
        cmd: Some(cmd),
        attach_stdout: Some(true),
        ..CreateExecOptions::default()
    };
    let table = runtime.ask(id, options, OP).await.ok()?;
    read_table(&String::from_utf8_lossy(&table))
}

/// Reads `/proc/net/tcp` (its format: `proc_net_tcp.rst` of the kernel).
fn read_table(table: &str) -> Option<BTreeSet<u16>> {
    if !table.contains("local_address") {
        return None;
    }
    let local = ["0100007F", "00000000000000000000000001000000"];
    let listener = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let state = words.nth(1)?;
        (state == "0A" && !local.contains(&address)).then(|| u16::from_str_radix(port, 16).ok())?
    };
    Some(table.lines().filter_map(listener).collect())
}

/// The ports that can be reached from here.
async fn reachable(found: &ContainerInspectResponse, ports: &BTreeSet<u16>) -> BTreeSet<u16> {
    let networks = found.network_settings.as_ref().and_then(|n| n.networks.as_ref());
    let addresses: Vec<_> = networks
        .into_iter()
        .flat_map(|n| n.values())
        .filter_map(|n| n.ip_address.as_ref()?.parse::<std::net::IpAddr>().ok())
        .collect();
    let mut open = BTreeSet::new();
    for address in addresses {
        for port in ports {
            let connect = TcpStream::connect((address, *port));
            if let Ok(Ok(_)) = timeout(Duration::from_millis(500), connect).await {
                open.insert(*port);
            }
        }
    }
    open
}

/// The last lines of a service; as many as come soon.
pub(super) async fn last_lines(client: &DockerClient, id: &str) -> String {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: LAST_LINES.to_owned(),
        ..LogsOptions::default()
    };
    let mut lines = client.docker().logs(id, Some(options)).take(200);
    let mut text = String::new();
    while let Ok(Some(Ok(line))) = timeout(Duration::from_secs(5), lines.next()).await {
        text.push_str(&String::from_utf8_lossy(&line.into_bytes()));
    }
    text
}

/// An error about a service, whose last lines go to the log.
async fn dead(
    runtime: &DockerRuntime,
    cx: &StepCx,
    name: &BoxName,
    id: &str,
    message: String,
) -> Error {
    let text = last_lines(&runtime.client, id).await;
    for line in text.lines() {
        cx.log.line(format!("{name} | {line}"));
    }
    let last = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("nothing").to_owned();
    Error::new(ErrorKind::Failed, OP, message)
        .with("service", name)
        .with("it said last", last)
        .hint("The log of this step has the last lines of the service.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr\n\
             0: 00000000:18EB 00000000:0000 0A 00000000:00000000 00:00000000\n\
             1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000\n\
             2: 020011AC:0051 030011AC:0016 01 00000000:00000000 00:00000000\n\
             0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0\n";
        assert_eq!(read_table(table), Some(BTreeSet::from([6379, 8080])));
        assert_eq!(read_table("cat: not found"), None);
        assert_eq!(read_table("local_address\nx\n1: y z w\n"), Some(BTreeSet::new()));
    }
}
