//! PostgreSQL.

use super::Entry;
use super::start::{LOCALHOST, Place, has_server, password, prepare, server};
use super::{container, start};
use crate::error::{Context, Failure, Result};
use crate::packages::is_root;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: &[&str] = &["postgres"];
const PACKAGES: &[&str] = &["postgresql"];
const UNITS: &[&str] = &["postgresql"];
const IMAGES: [&str; 4] = ["postgres:17", "postgres:16", "postgres:15", "postgres:latest"];

/// Starts a server with one user and one database, both called `kiln`.
pub(super) fn start(place: &Place<'_>) -> Result<Entry> {
    let password = password()?;
    if !has_server(PROGRAMS)
        && let Some(image) = IMAGES.into_iter().find(|image| container::has_image(image))
    {
        let env =
            [("POSTGRES_USER", "kiln"), ("POSTGRES_DB", "kiln"), ("POSTGRES_PASSWORD", &*password)];
        let image = container::Image { name: image, port: 5432, env: &env, ..Default::default() };
        // It answers once during its set-up already, but only on its own Unix socket.
        let (addr, id) = container::run(place, LOCALHOST, &image, answers)?;
        return Ok(entry(place, addr, &password).with("container", id));
    }
    let server = server(PROGRAMS, "stores and queues", PACKAGES, UNITS)?;
    // Debian's /usr/bin holds wrappers and links; initdb is beside the real one.
    let server = fs::canonicalize(&server).context("cannot find PostgreSQL's directory")?;
    let owner = Owner::choose(place)?;
    let data = owner.data(place)?;
    initialize(place, &server, &owner, &data, &password)?;
    let (addr, process) = place.serve(
        LOCALHOST,
        |addr| {
            let mut command = owner.command(&server, &data);
            command.arg("-D").arg(data.join("db")).args(["-p", &addr.port().to_string()]);
            // Tests kill processes, not the machine: nothing has to reach the disk.
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
            command.args(["-c", "unix_socket_directories=", "-c", "max_connections=200"]);
            Ok(command)
        },
        answers,
    )?;
    let entry = entry(place, addr, &password).with("data", data.to_string_lossy());
    let entry = entry.with_process(&process).with("stop", "interrupt");
    if let Err(error) = create_database(&server, addr, &password) {
        entry.stop()?;
        return Err(error);
    }
    Ok(entry)
}

fn entry(place: &Place<'_>, addr: SocketAddr, password: &str) -> Entry {
    place
        .entry(addr, &format!("postgres://kiln:{password}@{addr}/kiln"))
        .with("shown", format!("postgres://kiln@{addr}/kiln"))
        .with("username", "kiln")
        .with("password", password)
        .with("database", "kiln")
}

fn initialize(
    place: &Place<'_>,
    server: &Path,
    owner: &Owner,
    data: &Path,
    password: &str,
) -> Result<()> {
    let file = data.join("password");
    fs::write(&file, password).context(format!("cannot write {}", file.display()))?;
    owner.give(&file)?;
    let mut initdb = owner.command(&server.with_file_name("initdb"), data);
    initdb.arg("-D").arg(data.join("db")).args(["-U", "kiln", "-A", "scram-sha-256"]);
    initdb.args(["--no-sync", "-E", "UTF8", "--no-locale"]).arg("--pwfile").arg(&file);
    let prepared = prepare(place, initdb);
    let _ = fs::remove_file(&file);
    prepared
}

fn create_database(server: &Path, addr: SocketAddr, password: &str) -> Result<()> {
    let output = Command::new(server.with_file_name("createdb"))
        .args(["-h", &addr.ip().to_string(), "-p", &addr.port().to_string(), "-U", "kiln", "kiln"])
        .env("PGPASSWORD", password)
        .output()
        .context("cannot run createdb")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::task(format!("createdb: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// It accepts connections only once it has recovered.
fn answers(addr: SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&addr, std::time::Duration::from_secs(1)).is_ok()
}

/// Who runs the server: PostgreSQL refuses to be root.
#[derive(Debug)]
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn choose(_: &Place<'_>) -> Result<Self> {
        if !is_root() {
            return Ok(Self(None));
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let find = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2);
            Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
        };
        let ids = find("postgres").or_else(|| find("nobody"));
        ids.map(|ids| Self(Some(ids))).ok_or_else(|| {
            Failure::task(
                "PostgreSQL refuses to run as root and there is no user postgres or nobody",
            )
        })
    }

    /// A directory that the owner reaches: the usual one, or one among the temporary files when a
    /// directory above the usual one is closed to everybody but root.
    fn data(&self, place: &Place<'_>) -> Result<PathBuf> {
        self.give(&place.data)?;
        if self.reaches(&place.data) {
            return Ok(place.data.clone());
        }
        let far = std::env::temp_dir().join(format!("kiln-postgres-{}", place.layout.nickname()));
        start::empty(&far)?;
        self.give(&far)?;
        if !self.reaches(&far) {
            let text =
                format!("its user reaches neither {} nor {}", place.data.display(), far.display());
            return Err(Failure::task(text));
        }
        println!(
            "{:<14} its user cannot reach target/, so its data is in {}",
            place.name,
            far.display()
        );
        Ok(far)
    }

    fn reaches(&self, dir: &Path) -> bool {
        let mut test = self.command(Path::new("sh"), Path::new("/"));
        test.args(["-c", "cd -- \"$1\" && test -w .", "sh"]).arg(dir);
        test.output().is_ok_and(|output| output.status.success())
    }

    fn command(&self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(dir);
        #[cfg(unix)]
        if let Some((user, group)) = self.0 {
            use std::os::unix::process::CommandExt;
            command.uid(user).gid(group);
        }
        command
    }

    fn give(&self, path: &Path) -> Result<()> {
        #[cfg(unix)]
        if let Some((user, group)) = self.0 {
            std::os::unix::fs::chown(path, Some(user), Some(group))
                .context(format!("cannot give {} away", path.display()))?;
        }
        Ok(())
    }
}
