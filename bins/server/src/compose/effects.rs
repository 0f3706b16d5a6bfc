//! Everything that acts on the world, on one node.

use super::Memory;
use crate::config::{Config, Pool};
use kiln::{
    Error, ErrorKind, NodeId, Result, Toolbox,
    port::{Planner, Workspaces},
};
use kiln_archive::{ArchiveConfig, ArchiveSource};
use kiln_docker::{
    DockerBuilder, DockerClient, DockerConfig, DockerContainers, DockerRegistry, DockerRuntime,
    HomeId,
};
use kiln_files::FileWorkspaces;
use kiln_git::{GitConfig, GitSource};
use std::sync::Arc;

/// What one node can do.
#[derive(Clone, Debug)]
pub(crate) struct Effects {
    docker: DockerClient,
    home: HomeId,
    git: GitConfig,
    planner: Arc<dyn Planner>,
    workspaces: Arc<dyn Workspaces>,
}

impl Effects {
    /// Of the engine of this machine, or the one that the settings name.
    pub(crate) fn local(config: &Config, home: &HomeId) -> Result<Self> {
        let docker = docker(|name| match (name, &config.docker.host) {
            ("DOCKER_HOST", Some(host)) => Some(host.clone()),
            _ => variable(name),
        })?;
        Self::of(config, home, docker, "work")
    }

    /// Of a Docker host without an agent.
    pub(crate) fn pooled(config: &Config, home: &HomeId, pool: &Pool) -> Result<Self> {
        let docker = docker(|name| match name {
            "DOCKER_HOST" => Some(pool.docker_host.clone()),
            "DOCKER_CERT_PATH" => pool.cert_path.as_ref().map(|p| p.display().to_string()),
            "DOCKER_TLS_VERIFY" => pool.cert_path.as_ref().map(|_| "1".to_owned()),
            "DOCKER_CONTEXT" => None,
            _ => variable(name),
        })
        .map_err(|e| e.with("pool", &pool.name))?;
        Self::of(config, home, docker, &format!("work.{}", pool.name))
    }

    fn of(config: &Config, home: &HomeId, docker: DockerClient, work: &str) -> Result<Self> {
        let git = GitConfig {
            allow_private_network: config.git.allow_private_network,
            allow_file: config.git.allow_file,
            ..GitConfig::default()
        };
        Ok(Self {
            docker,
            home: home.clone(),
            git,
            // Nodes on one machine share what they fetched.
            planner: Arc::new(config.wercker.planner(config.data.join("steps"))?),
            workspaces: Arc::new(FileWorkspaces::open(config.data.join(work))?),
        })
    }

    /// These effects with a memory.
    pub(crate) fn tools(self, memory: &Memory, node: NodeId) -> Toolbox {
        let Self { docker, home, git, planner, workspaces } = self;
        let mut archives = ArchiveConfig::default();
        archives.allow_private_network = git.allow_private_network;
        let archives = ArchiveSource::new(memory.artifacts.clone(), archives);
        Toolbox {
            store: memory.store.clone(),
            index: memory.index.clone(),
            log_sink: memory.log_sink.clone(),
            log_reader: memory.log_reader.clone(),
            artifacts: memory.artifacts.clone(),
            secrets: memory.secrets.clone(),
            workspaces,
            // An archive over HTTP could be a repository too, by its form.
            sources: vec![Arc::new(archives), Arc::new(GitSource::new(git))],
            builders: vec![Arc::new(DockerBuilder::new(docker.clone()))],
            registry: Some(Arc::new(DockerRegistry::new(docker.clone()))),
            runtime: Some(Arc::new(DockerRuntime::new(docker.clone(), home.clone()))),
            containers: Some(Arc::new(DockerContainers::new(docker, home))),
            planners: vec![planner],
            node,
            ..Toolbox::default()
        }
    }

    /// Whether the engine answers.
    pub(crate) async fn answers(&self) -> Result<()> {
        self.docker.info().await.map(drop)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn docker(var: impl Fn(&str) -> Option<String>) -> Result<DockerClient> {
    let config = DockerConfig::from_vars(var)
        .map_err(|e| Error::new(ErrorKind::Invalid, "kiln-server", e.to_string()))?;
    DockerClient::new(config)
}
