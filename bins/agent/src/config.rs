//! The settings: the file, over it the environment, over that the command line.

use crate::{args::Args, host};
use kiln::{Error, ErrorKind, NodeId, Resources, Result, Secret};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The settings of an agent, as they are used.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) server: String,
    pub(crate) token: Secret,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) name: NodeId,
    pub(crate) data: PathBuf,
    pub(crate) slots: u16,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) resources: Resources,
    pub(crate) drain: Duration,
    pub(crate) lease: Duration,
    pub(crate) docker_host: Option<String>,
    pub(crate) git: Git,
    pub(crate) wercker: Wercker,
}

/// What a file may say. `docs/agent.md` explains it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    server: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    name: Option<NodeId>,
    data: Option<PathBuf>,
    slots: Option<u16>,
    labels: BTreeMap<String, String>,
    cpus: Option<f64>,
    memory: Option<String>,
    drain_seconds: Option<u64>,
    lease_seconds: Option<u64>,
    docker: Docker,
    git: Git,
    wercker: Wercker,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Docker {
    host: Option<String>,
}

/// What sources may be fetched.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Git {
    pub(crate) allow_private_network: bool,
    pub(crate) allow_file: bool,
}

/// Where the steps of pipelines come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wercker {
    pub(crate) registry: String,
    pub(crate) allow_private_network: bool,
    pub(crate) allow_http: bool,
}

impl Default for Wercker {
    fn default() -> Self {
        let registry = "https://steps.wercker.com".into();
        Self { registry, allow_private_network: false, allow_http: false }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "kiln-agent", message)
}

impl Config {
    /// Puts together what the file, the environment and the command line say.
    pub(crate) fn read(args: Args) -> Result<Self> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let server = args.server.or(file.server).ok_or_else(|| {
            invalid("there is no server to work for")
                .hint("Name it with --server, KILN_SERVER, or `server` in the file of --config.")
        })?;
        let token_file = args.token_file.or(file.token_file).ok_or_else(|| {
            invalid("there is no token").hint(
                "Put one into a file and name it with --token-file or KILN_TOKEN_FILE. The server makes \
                 them: kiln-server token create NAME --scope agent.",
            )
        })?;
        let mut labels = host::labels();
        labels.extend(file.labels);
        labels.extend(args.labels);
        let slots = args.slots.or(file.slots).unwrap_or(2);
        if slots == 0 {
            return Err(invalid("`slots` is 0: no build would ever run"));
        }
        let lease = file.lease_seconds.unwrap_or(30);
        if !(3..=600).contains(&lease) {
            return Err(invalid("`lease_seconds` is not between 3 and 600"));
        }
        let data = args.data.or(file.data).map_or_else(default_data, Ok)?;
        Ok(Self {
            server,
            token: read_token(&token_file)?,
            ca: args.ca.or(file.ca).map(|path| read_bytes(&path, "certificates")).transpose()?,
            name: args.name.or(file.name).map_or_else(host::name, Ok)?,
            data: std::path::absolute(&data).map_err(|e| invalid(e.to_string()))?,
            slots,
            labels,
            resources: resources(args.cpus.or(file.cpus), args.memory.or(file.memory))?,
            drain: Duration::from_secs(args.drain.or(file.drain_seconds).unwrap_or(60)),
            lease: Duration::from_secs(lease),
            docker_host: args.docker_host.or(file.docker.host),
            git: file.git,
            wercker: file.wercker,
        })
    }
}

fn resources(cpus: Option<f64>, memory: Option<String>) -> Result<Resources> {
    let found = host::resources();
    let cpu_millis = match cpus {
        None => found.cpu_millis,
        Some(cpus) if cpus > 0.0 && cpus < 1e6 => (cpus * 1000.0) as u32,
        Some(_) => return Err(invalid("`cpus` is no number of processors")),
    };
    let memory_bytes = match memory {
        None => found.memory_bytes,
        Some(text) => bytes(&text).ok_or_else(|| {
            invalid("`memory` is no size").hint("Write it as 512m, 8g or a number of bytes.")
        })?,
    };
    Ok(Resources { cpu_millis, memory_bytes })
}

/// A number of bytes, with `k`, `m`, `g` or `t` for powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (digits, power) = match text.strip_suffix(['k', 'm', 'g', 't']) {
        Some(digits) => (digits, 1 + "kmgt".find(&text[digits.len()..])? as u32),
        None => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1024_u64.checked_pow(power)?)
}

fn default_data() -> Result<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(data) = var("XDG_DATA_HOME") {
        return Ok(data.join("kiln-agent"));
    }
    let home = var("HOME").ok_or_else(|| {
        invalid("there is no HOME to keep data in").hint("Name a directory with --data.")
    })?;
    Ok(home.join(".local/share/kiln-agent"))
}

fn read_bytes(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| {
        invalid(format!("the {what} cannot be read")).with("file", path.display()).source(e)
    })
}

fn read_token(path: &Path) -> Result<Secret> {
    let token = Secret::new(read_bytes(path, "token")?);
    if token.expose_str().is_none_or(|t| t.trim().is_empty()) {
        return Err(invalid("there is no token in the file").with("file", path.display()));
    }
    Ok(token)
}

fn read_file(path: &Path) -> Result<File> {
    let text = String::from_utf8(read_bytes(path, "settings")?)
        .map_err(|_| invalid("the settings are no text").with("file", path.display()))?;
    toml::from_str(&text).map_err(|e| {
        let before = &text[..e.span().map_or(0, |s| s.start.min(text.len()))];
        invalid(e.message().to_owned())
            .with("file", path.display())
            .with("line", before.matches('\n').count() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn read(dir: &Path, file: &str, more: &[&str]) -> Result<Config> {
        fs::write(dir.join("agent.toml"), file).unwrap();
        fs::write(dir.join("token"), "kiln_hunter2\n").unwrap();
        let path = |name| dir.join(name).to_str().unwrap().to_owned();
        let (config, token) = (path("agent.toml"), path("token"));
        let args = ["kiln-agent", "--config", &config, "--token-file", &token, "--data", "d"];
        Config::read(Args::try_parse_from(args.iter().chain(more)).unwrap())
    }

    #[test]
    fn what_is_said_later_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file =
            "server = 'http://a'\nslots = 3\nmemory = '2g'\n[labels]\nos = 'plan9'\npool = 'x'\n";
        let config =
            read(dir.path(), file, &["--slots", "5", "--label", "pool=y", "--cpus", "1.5"]);
        let config = config.unwrap();
        assert_eq!((config.server.as_str(), config.slots), ("http://a", 5));
        assert_eq!(config.resources, Resources { cpu_millis: 1500, memory_bytes: 2 << 30 });
        assert_eq!((config.labels["os"].as_str(), config.labels["pool"].as_str()), ("plan9", "y"));
        assert_eq!(config.labels["arch"], std::env::consts::ARCH);
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (file, word) in [
            ("", "no server"),
            ("server = 'http://a'\nslts = 3", "slts"),
            ("server = 'http://a'\nslots = 0", "slots"),
            ("server = 'http://a'\nmemory = 'much'", "memory"),
            ("server = 'http://a'\nlease_seconds = 1", "lease_seconds"),
        ] {
            let e = read(dir.path(), file, &[]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{file}");
            assert!(e.to_string().contains(word), "{file}: {e}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, size) in [("17", 17), ("2k", 2048), ("1M", 1 << 20), ("3GB", 3 << 30)] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for bad in ["", "g", "-1", "1x", "99999999999999999999t"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
