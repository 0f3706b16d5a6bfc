//! Where the engine is and how to talk to it. Nothing here reads the environment by itself.

use std::{path::PathBuf, str::FromStr};

/// How to reach an engine, and how to build with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerConfig {
    /// Where it listens.
    pub host: Host,
    /// Certificates, for `tcp` with TLS.
    pub tls: Option<TlsFiles>,
    /// The directory of Docker's own `config.json`, where logins are kept.
    pub config_dir: Option<PathBuf>,
    /// Which of the engine's builders to use.
    pub builder: BuilderChoice,
    /// How many bytes of context a build may send.
    pub context_bytes_max: u64,
}

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A unix socket.
    Unix(PathBuf),
    /// A host name or address with a port.
    Tcp(String),
}

/// The certificate files of a TLS connection, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the engine's certificate.
    pub ca: PathBuf,
    /// The client's certificate.
    pub cert: PathBuf,
    /// The client's private key.
    pub key: PathBuf,
}

/// Which of the engine's builders to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuilderChoice {
    /// BuildKit where the engine has it.
    #[default]
    Auto,
    /// Always the classic builder.
    Classic,
    /// Always BuildKit.
    BuildKit,
}

/// Why a text does not say where an engine is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the address of a Docker engine: {problem}")]
pub struct ConfigError {
    text: String,
    problem: &'static str,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            host: Host::Unix("/var/run/docker.sock".into()),
            tls: None,
            config_dir: None,
            builder: BuilderChoice::Auto,
            context_bytes_max: 64 << 30,
        }
    }
}

impl DockerConfig {
    /// Reads what the Docker command line reads, with a function that looks variables up:
    /// `DOCKER_HOST`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`, `DOCKER_CONFIG`, `DOCKER_BUILDKIT`
    /// and `HOME`.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let var = |name: &str| var(name).filter(|v| !v.is_empty());
        let mut config = Self::default();
        if let Some(host) = var("DOCKER_HOST") {
            config.host = host.parse()?;
        }
        let home = var("HOME").map(PathBuf::from);
        let docker_dir =
            var("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home?.join(".docker")));
        if var("DOCKER_TLS_VERIFY").is_some() {
            let dir = var("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| docker_dir.clone());
            // Never in clear text where TLS was asked for.
            let dir = dir.ok_or_else(|| ConfigError {
                text: config.host.to_string(),
                problem: "DOCKER_TLS_VERIFY is set, and DOCKER_CERT_PATH does not say where the certificates are",
            })?;
            config.tls = Some(TlsFiles {
                ca: dir.join("ca.pem"),
                cert: dir.join("cert.pem"),
                key: dir.join("key.pem"),
            });
        }
        config.config_dir = docker_dir;
        match var("DOCKER_BUILDKIT").as_deref() {
            Some("0") => config.builder = BuilderChoice::Classic,
            Some("1") => config.builder = BuilderChoice::BuildKit,
            _ => {}
        }
        Ok(config)
    }
}

impl FromStr for Host {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let fail = |problem| Err(ConfigError { text: text.into(), problem });
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", _)) => fail("the path of a unix socket is absolute"),
            Some(("https", _)) => {
                fail("write `tcp://host:port` and set DOCKER_TLS_VERIFY=1 for TLS")
            }
            Some(("tcp" | "http", address)) => {
                let address = address.trim_end_matches('/');
                if address.contains('@') {
                    return fail("an address has no user in it");
                }
                match address.rsplit_once(':') {
                    Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                        Ok(Self::Tcp(address.into()))
                    }
                    _ => fail("it has no port; write `tcp://host:2376`, or 2375 without TLS"),
                }
            }
            Some(("ssh", _)) => fail("ssh is not supported; forward the socket with `ssh -L`"),
            _ => fail("write `unix:///path` or `tcp://host:port`"),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        assert_eq!("unix:///a/b".parse(), Ok(Host::Unix("/a/b".into())));
        assert_eq!("tcp://h:2375".parse(), Ok(Host::Tcp("h:2375".into())));
        assert_eq!("tcp://[::1]:2375/".parse(), Ok(Host::Tcp("[::1]:2375".into())));
        for bad in
            ["", "h:1", "unix://a", "tcp://h", "tcp://h:x", "ssh://h", "tcp://u@h:1", "https://h:1"]
        {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tls_that_was_asked_for_is_never_left_out() {
        let verify = |name: &str| (name == "DOCKER_TLS_VERIFY").then(|| "1".to_owned());
        assert!(DockerConfig::from_vars(verify).is_err());
    }

    #[test]
    fn the_variables_of_docker_are_honoured() {
        let vars = |name: &str| match name {
            "DOCKER_HOST" => Some("tcp://h:2376".to_owned()),
            "DOCKER_TLS_VERIFY" => Some("1".to_owned()),
            "HOME" => Some("/home/u".to_owned()),
            "DOCKER_BUILDKIT" => Some("0".to_owned()),
            _ => None,
        };
        let config = DockerConfig::from_vars(vars).unwrap();
        assert_eq!(config.host, Host::Tcp("h:2376".into()));
        assert_eq!(config.tls.unwrap().ca, PathBuf::from("/home/u/.docker/ca.pem"));
        assert_eq!(config.builder, BuilderChoice::Classic);
    }
}
