//! From settings to an agent with a Docker engine.

use crate::{
    beat::{refused, until_there},
    config::Config,
    janitor::Leftovers,
    run::Agent,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Result, Toolbox,
    layer::Trace,
    port::{Fleet, Node},
};
use kiln_archive::{ArchiveConfig, ArchiveSource};
use kiln_docker::{
    DockerBuilder, DockerClient, DockerConfig, DockerContainers, DockerRegistry, DockerRuntime,
    HomeId,
};
use kiln_files::FileWorkspaces;
use kiln_git::{GitConfig, GitSource};
use kiln_remote::{RemoteArtifacts, RemoteClient, RemoteConfig, RemoteFleet};
use kiln_wercker::{plan::WerckerPlanner, step::StepCache};
use kiln_wercker_registry::{HttpRegistry, RegistryConfig};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

/// What boxes of builds are on an engine. It holds the data directory, too: one process has it.
#[derive(Debug)]
struct Boxes {
    runtime: DockerRuntime,
    _lock: File,
}

#[async_trait]
impl Leftovers for Boxes {
    async fn builds(&self) -> Result<Vec<BuildId>> {
        Ok(self.runtime.leftovers(None).await?.into_iter().map(|left| left.build).collect())
    }
}

/// Makes an agent; waits for a Docker engine that is not there yet.
pub(crate) async fn compose(config: &Config) -> Result<Agent> {
    let lock = take(&config.data)?;
    let remote = RemoteConfig {
        server: config.server.clone(),
        token: Some(config.token.clone()),
        node: Some(config.name.clone()),
        ca: config.ca.clone(),
    };
    let client = RemoteClient::new(&remote)?;
    if remote.is_in_clear() {
        tracing::warn!(server = client.server(), "the token and every secret go unencrypted");
    }
    let fleet = RemoteFleet::new(client.clone());
    // Whether we are welcome is told before anything else is waited for.
    until_there("the server", async || fleet.nodes().await).await.map_err(refused)?;
    let docker = DockerClient::new(docker_config(config)?)?;
    let info = until_there("the Docker engine", async || docker.info().await).await?;
    let mut labels = config.labels.clone();
    labels.entry("docker".into()).or_insert_with(|| info.version.clone());
    tracing::info!(
        server = client.server(),
        docker = info.version,
        data = %config.data.display(),
        "kiln-agent {}", env!("CARGO_PKG_VERSION")
    );
    let home = HomeId::kept_in(&config.data.join("id"))?;
    let runtime = DockerRuntime::new(docker.clone(), home.clone());
    let effects = effects(config, &client, docker, home)?;
    let node = Node {
        id: config.name.clone(),
        labels,
        slots: config.slots,
        resources: config.resources,
        drained: false,
        seen_at: effects.clock.now(),
    };
    Ok(Agent {
        client,
        effects,
        node,
        leases: config.data.join("leases.json"),
        lease_time: config.lease,
        drain_time: config.drain,
        leftovers: Some(Arc::new(Boxes { runtime, _lock: lock })),
    })
}

fn effects(
    config: &Config,
    client: &RemoteClient,
    docker: DockerClient,
    home: HomeId,
) -> Result<Toolbox> {
    let mut archives = ArchiveConfig::default();
    archives.allow_private_network = config.git.allow_private_network;
    let archives = ArchiveSource::new(Arc::new(RemoteArtifacts::new(client.clone())), archives);
    let git = GitConfig {
        allow_private_network: config.git.allow_private_network,
        allow_file: config.git.allow_file,
        ..GitConfig::default()
    };
    let mut registry = RegistryConfig::new(&config.wercker.registry);
    registry.allow_private_network = config.wercker.allow_private_network;
    registry.allow_http = config.wercker.allow_http;
    let registry = HttpRegistry::new(&registry).map_err(|e| {
        Error::new(ErrorKind::Invalid, "kiln-agent", "`wercker.registry` cannot be used").source(e)
    })?;
    let steps = StepCache::new(config.data.join("steps"));
    // Nothing is added to it: a file names no path of this machine.
    let planner = WerckerPlanner::new(Arc::new(registry), steps).address(&config.wercker.registry);
    let tools = Toolbox::default();
    let trace = Trace::new(tools.clock.clone());
    let tools = Toolbox {
        workspaces: Arc::new(FileWorkspaces::open(config.data.join("work"))?),
        // An archive over HTTP could be a repository too, by its form.
        sources: vec![Arc::new(archives), Arc::new(GitSource::new(git))],
        planners: vec![Arc::new(planner)],
        builders: vec![Arc::new(DockerBuilder::new(docker.clone()))],
        registry: Some(Arc::new(DockerRegistry::new(docker.clone()))),
        runtime: Some(Arc::new(DockerRuntime::new(docker.clone(), home.clone()))),
        containers: Some(Arc::new(DockerContainers::new(docker, home))),
        ..tools
    };
    Ok(tools.layer_effects(&trace))
}

fn docker_config(config: &Config) -> Result<DockerConfig> {
    DockerConfig::from_vars(|name| match (name, &config.docker_host) {
        ("DOCKER_HOST", Some(host)) => Some(host.clone()),
        _ => std::env::var(name).ok().filter(|v| !v.is_empty()),
    })
    .map_err(|e| Error::new(ErrorKind::Invalid, "kiln-agent", e.to_string()))
}

/// Makes the data directory and keeps others out of it: two agents with one identity would sweep
/// each other's boxes.
fn take(data: &Path) -> Result<File> {
    let unusable = |e: std::io::Error| {
        Error::new(ErrorKind::Unexpected, "kiln-agent", "the data directory cannot be used")
            .with("path", data.display())
            .source(e)
            .hint("Choose another with --data or KILN_DATA.")
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(unusable)?;
    let mut open = OpenOptions::new();
    open.create(true).truncate(false).write(true).mode(0o600);
    let lock = open.open(data.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(e)) => Err(unusable(e)),
        Err(TryLockError::WouldBlock) => {
            let message = "another agent works with this data directory";
            Err(Error::new(ErrorKind::Conflict, "kiln-agent", message)
                .with("path", data.display())
                .hint(
                    "Stop it, or give this one a directory and a name of its own: --data, --name.",
                ))
        }
    }
}
