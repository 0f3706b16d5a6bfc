//! What starting any service takes: a directory, a port, a process that answers.

use super::{Book, Entry, Service};
use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use crate::packages;
use crate::process::{Process, Signal, program, spawn_detached, tail};
use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Services live here; none of them has its default port in this range.
const PORTS: std::ops::Range<u16> = 27_000..28_000;
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where one service is started.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The checkout.
    pub(crate) layout: &'a Layout,
    /// What runs already.
    pub(crate) book: &'a Book,
    /// The service's name.
    pub(crate) name: &'static str,
    /// An empty directory for its data.
    pub(crate) data: PathBuf,
    /// Its log, which is kept.
    pub(crate) log: PathBuf,
}

impl<'a> Place<'a> {
    /// Makes the directory and begins the log anew.
    pub(crate) fn new(layout: &'a Layout, book: &'a Book, service: Service) -> Result<Self> {
        let name = service.name();
        let data = layout.services().join(name);
        let log = layout.services().join(format!("{name}.log"));
        empty(&data)?;
        File::create(&log).context(format!("cannot write {}", log.display()))?;
        Ok(Self { layout, book, name, data, log })
    }

    /// Starts `command(port)` on a free port and waits until `ready` says that it answers.
    pub(crate) fn serve(
        &self,
        ip: IpAddr,
        mut command: impl FnMut(SocketAddr) -> Result<Command>,
        ready: impl Fn(SocketAddr) -> bool,
    ) -> Result<(SocketAddr, Process)> {
        let mut refused = Vec::new();
        loop {
            let addr = SocketAddr::new(ip, self.free_port(ip, &refused)?);
            let process = spawn_detached(command(addr)?, &self.log)?;
            match self.wait(&process, || ready(addr)) {
                Ok(()) => return Ok((addr, process)),
                // Somebody took the port between our look and the server's.
                Err(_) if self.lost_the_port() && refused.len() < 5 => refused.push(addr.port()),
                Err(error) => return Err(error),
            }
            File::create(&self.log).context("cannot begin the log anew")?;
        }
    }

    /// Waits until `ready`, as long as the process runs. A process that is not ready is stopped.
    pub(crate) fn wait(&self, process: &Process, ready: impl Fn() -> bool) -> Result<()> {
        let begin = Instant::now();
        loop {
            let alive = process.is_alive();
            // In this order: an answer from somebody else's server on our port is not ours.
            if alive && ready() && process.is_alive() {
                return Ok(());
            }
            if !alive || begin.elapsed() > PATIENCE {
                let why = if alive { "does not answer" } else { "ended" };
                process.stop(Signal::Terminate, Duration::from_secs(5))?;
                return Err(self.trouble(why));
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// An error that shows the end of the log.
    pub(crate) fn trouble(&self, why: &str) -> Failure {
        let end = tail(&self.log, 12);
        Failure::task(format!("it {why}; {} ends with:\n{end}", self.log.display()))
    }

    /// An entry with what every service has.
    pub(crate) fn entry(&self, addr: SocketAddr, url: &str) -> Entry {
        Entry::new(serde_json::json!({
            "url": url,
            "port": addr.port(),
            "log": self.log,
            "data": self.data,
        }))
    }

    fn lost_the_port(&self) -> bool {
        tail(&self.log, 40).to_lowercase().contains("address already in use")
    }

    /// A port that nobody listens on now. Every checkout begins at another one, so that two of them
    /// seldom meet.
    pub(crate) fn free_port(&self, ip: IpAddr, refused: &[u16]) -> Result<u16> {
        let seed = u64::from_str_radix(&self.layout.nickname(), 16).unwrap_or_default();
        let span = PORTS.end - PORTS.start;
        let first = u16::try_from(seed % u64::from(span)).unwrap_or_default();
        let taken: Vec<u16> = self.book.ports().collect();
        (0..span)
            .map(|step| PORTS.start + (first + step) % span)
            .filter(|port| !taken.contains(port) && !refused.contains(port))
            .find(|port| TcpListener::bind((ip, *port)).is_ok())
            .ok_or_else(|| Failure::task(format!("no port of {PORTS:?} is free")))
    }
}

/// A directory with nothing in it.
pub(crate) fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).context(format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).context(format!("cannot create {}", dir.display()))
}

/// The first of these programs, installed if need be.
pub(crate) fn server(
    names: &'static [&'static str],
    why: &'static str,
    packages: &'static [&'static str],
    units: &'static [&'static str],
) -> Result<PathBuf> {
    let check = packages::Check::AnyProgram(names);
    packages::ensure(&[packages::Need { what: names[0], why, packages, units, check }])?;
    let found = names.iter().find_map(|name| program(name));
    found.ok_or_else(|| Failure::task(format!("{} is missing", names[0])))
}

/// Whether a server can be had without the engine's help.
pub(crate) fn has_server(names: &[&str]) -> bool {
    packages::may_install() || names.iter().any(|name| program(name).is_some())
}

/// A password nobody knows: 32 hexadecimal digits.
pub(crate) fn password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs a command whose output goes to the service's log.
pub(crate) fn prepare(place: &Place<'_>, mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().context(format!("cannot run {name}"))?;
    let mut text = output.stdout;
    text.extend(output.stderr);
    fs::write(&place.log, &text).context(format!("cannot write {}", place.log.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(place.trouble(&format!("cannot be prepared with {name}")))
}
