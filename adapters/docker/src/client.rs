//! One connection to one engine.

use crate::{
    config::{BuilderChoice, DockerConfig, Host},
    error::translate,
    registry::NameLocks,
    wire::Wire,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, models::SystemVersion};
use kiln::{Error, ErrorKind, Result};
use std::{sync::Arc, time::Duration};

/// How long the engine may take to begin an answer. Long, since a commit or a quiet build says
/// nothing before it is done.
const ANSWER_SECONDS: u64 = 3600;

/// A connection to an engine. Clones share it.
#[derive(Clone, Debug)]
pub struct DockerClient {
    docker: Docker,
    wire: Arc<Wire>,
    config: Arc<DockerConfig>,
    names: Arc<NameLocks>,
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
    /// What its clock says, as RFC 3339 has it, to the nanosecond.
    pub system_time: Option<String>,
}

impl DockerClient {
    /// Prepares a connection. Nothing is opened, read or sent before the first call.
    pub fn new(config: DockerConfig) -> Result<Self> {
        let wire = Arc::new(Wire::new(&config));
        let transport = {
            let wire = wire.clone();
            move |request: BollardRequest| {
                let wire = wire.clone();
                async move { wire.send(url_safe(request)).await }
            }
        };
        // The host in this URL is never looked up: the wire knows where to go.
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            ANSWER_SECONDS,
            API_DEFAULT_VERSION,
        );
        let docker = docker.map_err(|e| unreachable(&config, translate("Docker::connect", e)))?;
        Ok(Self { docker, wire, config: Arc::new(config), names: Arc::default() })
    }

    /// The configuration.
    pub fn config(&self) -> &DockerConfig {
        &self.config
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The way to the engine, for what the vendor's client does not tell.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Who changes which names of images in this process.
    pub(crate) fn names(&self) -> &NameLocks {
        &self.names
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
        Ok(EngineInfo {
            root_dir: info.docker_root_dir,
            system_time: info.system_time,
            ..version.into()
        })
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
    /// What the version tells; not where the data is, nor the time.
    fn from(version: SystemVersion) -> Self {
        let components = version.components.unwrap_or_default();
        Self {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            os: version.os.unwrap_or_default(),
            is_docker: components.first().is_some_and(|c| c.name == "Engine"),
            root_dir: None,
            system_time: None,
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

/// The engine reads credentials as URL-safe base64, and the vendor's client writes the plain kind.
fn url_safe(mut request: BollardRequest) -> BollardRequest {
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
}

fn unreachable(config: &DockerConfig, e: Error) -> Error {
    if e.kind() != ErrorKind::Unavailable || e.hint_text().is_some() {
        return e;
    }
    e.with("engine", &config.host).hint(match config.host {
        Host::Unix(_) => {
            "Start Docker (`systemctl start docker`), or set DOCKER_HOST to where it listens."
        }
        Host::Tcp(_) => "Check that DOCKER_HOST is right and that Docker listens there.",
    })
}
