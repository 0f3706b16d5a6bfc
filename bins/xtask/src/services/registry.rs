//! Three docker registries: open, with a password, and with a certificate that nobody trusts.

use super::start::{LOCALHOST, Place, has_server, prepare, server};
use super::{Entry, container, engine};
use crate::error::{Context, Result};
use crate::http;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PROGRAMS: &[&str] = &["docker-registry", "registry"];
const IMAGE: &str = "registry:2";

/// Who may use the registry with a password. The password's base64 form holds both characters that
/// differ between the two alphabets, because clients mix them up.
const USER: &str = "kiln";
const PASSWORD: &str = "a??>>>~~~?~~>";
/// The password's bcrypt hash (cost 5), fixed so that no program is needed to make one.
const HTPASSWD: &str = "kiln:$2y$05$wTC4QABrvferjt4zSC1hKOJTJ4nP4DhKnWjRWtHBha94XP1.QjZUy\n";

/// A registry that lets everybody in.
pub(super) fn plain(place: &Place<'_>) -> Result<Entry> {
    start(place, LOCALHOST, "")
}

/// A registry that wants a name and a password.
pub(super) fn with_password(place: &Place<'_>) -> Result<Entry> {
    let file = place.data.join("htpasswd");
    fs::write(&file, HTPASSWD).context(format!("cannot write {}", file.display()))?;
    let auth = "auth:\n  htpasswd:\n    realm: kiln\n    path: {dir}/htpasswd\n";
    let entry = start(place, LOCALHOST, auth)?;
    Ok(entry.with("username", USER).with("password", PASSWORD))
}

/// A registry with a self-signed certificate. An engine takes any certificate from 127.0.0.0/8, so
/// this one listens on the engine's bridge where there is one: only this machine and its containers
/// reach it, and the engine refuses it, which is what it is for.
pub(super) fn with_certificate(place: &Place<'_>) -> Result<Entry> {
    let bridge = engine::bridge().filter(|ip| TcpListener::bind((*ip, 0)).is_ok());
    let ip = bridge.unwrap_or(LOCALHOST);
    let certificate = place.data.join("certificate.pem");
    let mut openssl = Command::new(server(&["openssl"], "certificates", &["openssl"], &[])?);
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]);
    openssl.args(["-subj", "/CN=kiln test registry", "-addext"]);
    openssl.arg(format!("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:{ip}"));
    openssl.arg("-keyout").arg(place.data.join("key.pem")).arg("-out").arg(&certificate);
    prepare(place, openssl)?;
    let tls = "  tls:\n    certificate: {dir}/certificate.pem\n    key: {dir}/key.pem\n";
    let entry = start(place, ip, tls)?;
    Ok(entry.with("ca", certificate.to_string_lossy()).with("refused_by_engine", bridge.is_some()))
}

/// `extra` goes to the end of the configuration, where `http:` is open; `{dir}` is the directory.
fn start(place: &Place<'_>, ip: IpAddr, extra: &str) -> Result<Entry> {
    let tls = extra.contains("tls:");
    let ready = move |addr| if tls { accepts(addr) } else { answers(addr) };
    if !has_server(PROGRAMS) && container::has_image(IMAGE) {
        configure(&place.data, "/data", "0.0.0.0:5000", extra)?;
        let mounts = [(place.data.as_path(), "/data")];
        let image = container::Image {
            name: IMAGE,
            port: 5000,
            mounts: &mounts,
            // Version 2 and 3 begin differently, but the program is the same.
            entrypoint: Some("registry"),
            command: &["serve", "/data/config.yml"],
            ..Default::default()
        };
        return container::run(place, ip, &image, ready)
            .map(|(addr, id)| entry(place, addr, tls).with("container", id));
    }
    let program = server(PROGRAMS, "images", &["docker-registry"], &["docker-registry"])?;
    let (addr, process) = place.serve(
        ip,
        |addr| {
            let dir = place.data.to_string_lossy();
            configure(&place.data, &dir, &addr.to_string(), extra)?;
            let mut command = Command::new(&program);
            // Variables that begin so would change the configuration.
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("REGISTRY_") {
                    command.env_remove(name);
                }
            }
            command.arg("serve").arg(place.data.join("config.yml"));
            Ok(command)
        },
        ready,
    )?;
    Ok(entry(place, addr, tls).with_process(&process))
}

fn entry(place: &Place<'_>, addr: SocketAddr, tls: bool) -> Entry {
    let name = if addr.ip() == LOCALHOST { "localhost".into() } else { addr.ip().to_string() };
    let host = format!("{name}:{}", addr.port());
    let scheme = if tls { "https" } else { "http" };
    place.entry(addr, &format!("{scheme}://{host}")).with("host", host)
}

fn configure(data: &Path, dir: &str, addr: &str, extra: &str) -> Result<()> {
    let mut text = String::from("version: 0.1\nlog:\n  level: info\n");
    let _ = write!(
        text,
        "storage:\n  filesystem:\n    rootdirectory: {dir}/images\n  delete:\n    enabled: true\n\
         http:\n  addr: {addr}\n{}",
        extra.replace("{dir}", dir)
    );
    let file = data.join("config.yml");
    fs::write(&file, text).context(format!("cannot write {}", file.display()))
}

fn accepts(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
}

fn answers(addr: SocketAddr) -> bool {
    http::get(addr, "/v2/").is_ok_and(|(status, _)| matches!(status, 200 | 401))
}
