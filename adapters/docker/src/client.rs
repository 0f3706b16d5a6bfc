//! One connection to one engine.

use crate::{
    config::{BuilderChoice, DockerConfig, Host},
    error::translate,
};
use bollard::{API_DEFAULT_VERSION, Docker, models::SystemVersion};
use kiln::{Error, ErrorKind, Result};
use std::{sync::Arc, time::Duration};

/// How long the engine may take to begin an answer. Long, since a commit or a quiet build says
/// nothing before it is done.
const ANSWER_SECONDS: u64 = 3600;

/// A connection to an engine. Clones share it.
#[derive(Clone, Debug)]
pub struct DockerClient {
    docker: Docker,
    config: Arc<DockerConfig>,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its version.
    pub version: String,
    /// The version of its API.
    pub api_version: String,
    /// Its operating system, such as `linux`.
    pub os: String,
    /// Whether it is Docker itself and not something that speaks its API.
    pub is_docker: bool,
    /// Where it keeps its data, on its own host.
    pub root_dir: Option<String>,
}

impl DockerClient {
    /// Prepares a connection. Nothing is sent before the first call.
    pub fn new(config: DockerConfig) -> Result<Self> {
        let docker = match (&config.host, &config.tls) {
            (Host::Unix(path), _) => {
                let path = path.to_str().ok_or_else(|| {
                    Error::new(ErrorKind::Invalid, "Docker::connect", "the path is not UTF-8")
                })?;
                Docker::connect_with_unix(path, ANSWER_SECONDS, API_DEFAULT_VERSION)
            }
            (Host::Tcp(address), Some(tls)) => Docker::connect_with_ssl(
                address,
                &tls.key,
                &tls.cert,
                &tls.ca,
                ANSWER_SECONDS,
                API_DEFAULT_VERSION,
            ),
            (Host::Tcp(address), None) => {
                Docker::connect_with_http(address, ANSWER_SECONDS, API_DEFAULT_VERSION)
            }
        };
        let docker = docker.map_err(|e| unreachable(&config, translate("Docker::connect", e)))?;
        // The engine reads credentials as URL-safe base64, and the client writes the plain kind.
        let docker = docker.with_request_modifier(|mut request| {
            for name in ["x-registry-auth", "x-registry-config"] {
                let fixed = request
                    .headers()
                    .get(name)
                    .and_then(|v| v.to_str().ok())
                    .map(|v| v.replace('+', "-").replace('/', "_"))
                    .and_then(|v| v.parse().ok());
                if let Some(fixed) = fixed {
                    request.headers_mut().insert(name, fixed);
                }
            }
            request
        });
        Ok(Self { docker, config: Arc::new(config) })
    }

    /// The configuration.
    pub fn config(&self) -> &DockerConfig {
        &self.config
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Translates an error, and says which engine could not be reached if that is the trouble.
    pub(crate) fn error(&self, op: &'static str, e: bollard::errors::Error) -> Error {
        unreachable(&self.config, translate(op, e))
    }

    /// What the engine says of itself; `Unavailable` within 10 s if it cannot be reached.
    pub async fn info(&self) -> Result<EngineInfo> {
        const OP: &str = "Docker::info";
        let quick = self.docker.clone().with_timeout(Duration::from_secs(10));
        let version = quick.version().await.map_err(|e| self.error(OP, e))?;
        let info = quick.info().await.map_err(|e| self.error(OP, e))?;
        Ok(EngineInfo { root_dir: info.docker_root_dir, ..version.into() })
    }

    /// Whether to build with BuildKit: as configured, or where the engine has it.
    pub async fn uses_buildkit(&self) -> Result<bool> {
        match self.config.builder {
            BuilderChoice::Classic => Ok(false),
            BuilderChoice::BuildKit => Ok(true),
            BuilderChoice::Auto => {
                let quick = self.docker.clone().with_timeout(Duration::from_secs(10));
                let version = quick.version().await.map_err(|e| self.error("Docker::info", e))?;
                Ok(EngineInfo::from(version).has_buildkit())
            }
        }
    }
}

impl From<SystemVersion> for EngineInfo {
    /// What the version tells; not where the data is.
    fn from(version: SystemVersion) -> Self {
        let components = version.components.unwrap_or_default();
        Self {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            os: version.os.unwrap_or_default(),
            is_docker: components.first().is_some_and(|c| c.name == "Engine"),
            root_dir: None,
        }
    }
}

impl EngineInfo {
    /// Whether the engine has BuildKit: Docker on Linux since API version 1.39.
    pub fn has_buildkit(&self) -> bool {
        let mut parts = self.api_version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        self.is_docker && self.os == "linux" && version >= (1, 39)
    }
}

fn unreachable(config: &DockerConfig, e: Error) -> Error {
    match e.kind() {
        ErrorKind::Unavailable => e.with("engine", &config.host).hint(
            "Start Docker (`systemctl start docker`), or set DOCKER_HOST to where it listens.",
        ),
        ErrorKind::Denied if e.operation() == "Docker::connect" => e
            .with("engine", &config.host)
            .hint("Add your user to the group `docker`, or run as root."),
        _ => e,
    }
}
