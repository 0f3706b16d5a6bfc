//! What an image says of itself, and a container is started with.

use super::told::Told;
use std::fmt;

/// What an image says of itself, or what a container is started with in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
    /// The ports it listens on, or that are published.
    pub ports: Vec<PortSpec>,
    /// The directories that are volumes.
    pub volumes: Vec<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// The command.
    pub cmd: Vec<String>,
    /// What the command is given to.
    pub entrypoint: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// The user.
    pub user: Option<String>,
}

/// A port: `80`, `80/udp` or `8080:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The port of the host, where one is named.
    pub host: Option<u16>,
    /// The port of the container.
    pub guest: u16,
    /// Whether it is UDP and not TCP.
    pub udp: bool,
}

impl PortSpec {
    /// Reads a port.
    pub fn parse(text: &str) -> Option<Self> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let udp = match protocol {
            "tcp" => false,
            "udp" => true,
            _ => return None,
        };
        let number = |text: &str| text.parse().ok().filter(|&n: &u16| n > 0);
        let (host, guest) = match ports.rsplit_once(':') {
            Some((host, guest)) => (Some(number(host)?), guest),
            None => (None, ports),
        };
        Some(Self { host, guest: number(guest)?, udp })
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = self.host {
            write!(f, "{host}:")?;
        }
        write!(f, "{}/{}", self.guest, if self.udp { "udp" } else { "tcp" })
    }
}

pub(super) fn config(told: &mut Told<'_>, of_image: bool) -> ImageConfig {
    let mut config = ImageConfig {
        working_dir: told.text("working-dir"),
        cmd: told.words("cmd"),
        entrypoint: told.words("entrypoint"),
        env: told.pairs("env"),
        user: told.text("user"),
        ..ImageConfig::default()
    };
    for text in told.list("ports") {
        match PortSpec::parse(&text) {
            Some(port) => config.ports.push(port),
            None => {
                told.check("ports", Some("ports are written `80`, `80/udp` or `8080:80`".into()))
            }
        }
    }
    if of_image {
        config.author = told.text("author");
        config.message = told.text("message");
        config.volumes = told.list("volumes");
        config.stop_signal = told.text("stopsignal");
        config.labels = told.pairs("labels");
        for (key, values) in [
            ("working-dir", config.working_dir.iter().collect::<Vec<_>>()),
            ("user", config.user.iter().collect()),
            ("stopsignal", config.stop_signal.iter().collect()),
            ("env", config.env.iter().flat_map(|(k, v)| [k, v]).collect()),
            ("labels", config.labels.iter().flat_map(|(k, v)| [k, v]).collect()),
        ] {
            if values.iter().any(|v| v.contains(char::is_control)) {
                told.check(key, Some("an image can hold no control characters there".into()));
            }
        }
    }
    config
}

impl ImageConfig {
    /// The instructions of a Dockerfile that give an image this, such as `ENV A="1"`.
    pub fn changes(&self) -> Vec<String> {
        let list = |words: &[String]| serde_json::Value::from(words.to_vec()).to_string();
        let mut all = Vec::new();
        all.extend(self.env.iter().map(|(k, v)| format!("ENV {k}={}", quoted(v))));
        all.extend(self.labels.iter().map(|(k, v)| format!("LABEL {}={}", quoted(k), quoted(v))));
        let port = |p: &PortSpec| PortSpec { host: None, ..*p };
        all.extend(self.ports.iter().map(|p| format!("EXPOSE {}", port(p))));
        if !self.volumes.is_empty() {
            all.push(format!("VOLUME {}", list(&self.volumes)));
        }
        all.extend(self.working_dir.iter().map(|dir| format!("WORKDIR {}", plain(dir))));
        all.extend(self.user.iter().map(|user| format!("USER {}", plain(user))));
        all.extend(self.stop_signal.iter().map(|signal| format!("STOPSIGNAL {}", plain(signal))));
        if !self.entrypoint.is_empty() {
            all.push(format!("ENTRYPOINT {}", list(&self.entrypoint)));
        }
        if !self.cmd.is_empty() {
            all.push(format!("CMD {}", list(&self.cmd)));
        }
        all
    }
}

/// A value in quotes, in which the Dockerfile expands nothing.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// A value without quotes, in which the Dockerfile expands nothing.
fn plain(text: &str) -> String {
    text.replace('\\', "\\\\").replace('$', "\\$")
}

/// What is wrong with a tag of an image.
pub(super) fn tag_problem(tag: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if tag.len() <= 128 && !tag.starts_with(['.', '-']) && tag.chars().all(legal) {
        return None;
    }
    Some("a tag has up to 128 letters, digits and `_.-`, and begins with none of `.-`".into())
}
