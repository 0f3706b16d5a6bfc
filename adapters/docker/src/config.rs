//! Where the engine is and how to talk to it. Nothing here reads the environment by itself.

mod contexts;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

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

/// The certificate files of a TLS connection, all in PEM. They are read by the first call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the engine's certificate, and the only one trusted; the
    /// system's own without it.
    pub ca: Option<PathBuf>,
    /// What this side shows of itself, where the engine wants that.
    pub client: Option<ClientFiles>,
}

/// The files that prove who a client is, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate, and those between it and the authority.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The files `ca.pem`, `cert.pem` and `key.pem` of a directory, as Docker names them. The last
    /// two may be left out together.
    fn in_dir(dir: &Path) -> Self {
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        // One without the other is named as missing by the first call.
        let client = (cert.exists() || key.exists()).then_some(ClientFiles { cert, key });
        Self { ca: Some(dir.join("ca.pem")), client }
    }
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

/// Why it cannot be said where an engine is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An address is not one.
    #[error("`{text}` is not the address of a Docker engine that can be used: {problem}")]
    Address {
        /// The address.
        text: String,
        /// What is wrong with it, and what to write.
        problem: &'static str,
    },
    /// Docker's current context cannot be used.
    #[error("the Docker context `{name}` cannot be used: {problem}")]
    Context {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// TLS was asked for in a way that would not protect.
    #[error("TLS to the Docker engine cannot be set up: {problem}")]
    Tls {
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// Docker's configuration file is not valid, so that it is not known which engine is meant.
    #[error("Docker's configuration {} cannot be used: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
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
    /// `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_TLS_VERIFY`, `DOCKER_TLS`, `DOCKER_CERT_PATH`,
    /// `DOCKER_CONFIG`, `DOCKER_BUILDKIT` and `HOME`.
    ///
    /// Without `DOCKER_HOST`, the engine is that of the context that `DOCKER_CONTEXT` or else
    /// `docker context use` chose; its files are read here.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let var = |name: &str| var(name).filter(|v| !v.is_empty());
        let home = var("HOME").map(PathBuf::from);
        let docker_dir =
            var("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home?.join(".docker")));
        let mut config = Self { config_dir: docker_dir.clone(), ..Self::default() };
        let context = match (var("DOCKER_HOST"), docker_dir.as_deref()) {
            (Some(host), _) => {
                config.host = host.parse()?;
                None
            }
            (None, dir) => contexts::current(var("DOCKER_CONTEXT"), dir)?,
        };
        if let Some(context) = context {
            // A context says all about its engine; the variables are for the other ones.
            (config.host, config.tls) = (context.host, context.tls);
        } else if var("DOCKER_TLS_VERIFY").is_some() {
            let dir = var("DOCKER_CERT_PATH").map(PathBuf::from).or(docker_dir);
            // Never in clear text where TLS was asked for.
            let dir = dir.ok_or(ConfigError::Tls {
                problem: "DOCKER_TLS_VERIFY is set, and DOCKER_CERT_PATH does not say where the certificates are",
            })?;
            config.tls = Some(TlsFiles::in_dir(&dir));
        } else if var("DOCKER_TLS").is_some() && matches!(config.host, Host::Tcp(_)) {
            return Err(ConfigError::Tls {
                problem: "DOCKER_TLS alone does not check who answers; set DOCKER_TLS_VERIFY=1",
            });
        }
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
        let fail = |problem| Err(ConfigError::Address { text: without_login(text), problem });
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
            Some(("ssh", _)) => fail(
                "ssh is not supported; forward the socket with `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST` and set DOCKER_HOST=unix:///tmp/docker.sock",
            ),
            _ => fail("write `unix:///path` or `tcp://host:port`"),
        }
    }
}

/// An address as it may be shown: a password has no place in one, but may stand there.
fn without_login(text: &str) -> String {
    match (text.split_once("://"), text.rfind('@')) {
        (Some((scheme, _)), Some(at)) => format!("{scheme}://{}", &text[at + 1..]),
        (None, Some(at)) => text[at + 1..].into(),
        (_, None) => text.into(),
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
        let unverified = |name: &str| match name {
            "DOCKER_TLS" => Some("1".to_owned()),
            "DOCKER_HOST" => Some("tcp://h:2376".to_owned()),
            _ => None,
        };
        assert!(DockerConfig::from_vars(unverified).is_err());
    }

    #[test]
    fn a_refused_address_says_what_to_do_and_shows_no_password() {
        let e = "ssh://bob@h".parse::<Host>().unwrap_err().to_string();
        assert!(e.contains("ssh -nNT -L") && e.contains("DOCKER_HOST=unix://"), "{e}");
        let e = "tcp://bob:hunter2@h:1".parse::<Host>().unwrap_err().to_string();
        assert!(!e.contains("hunter2"), "{e}");
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
        let tls = config.tls.unwrap();
        assert_eq!(tls, TlsFiles { ca: Some("/home/u/.docker/ca.pem".into()), client: None });
        assert_eq!(config.builder, BuilderChoice::Classic);
    }
}
