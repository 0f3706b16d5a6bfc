//! From settings to an engine: which adapters, and where they keep things.

use crate::config::Config;
use kiln::{Engine, Error, ErrorKind, Result, layer::Trace, memory::SystemClock, port::Queue};
use kiln_docker::{
    DockerBuilder, DockerClient, DockerConfig, DockerContainers, DockerRegistry, DockerRuntime,
    HomeId,
};
use kiln_files::{FileArtifacts, FileLogs, FileWorkspaces};
use kiln_git::{GitConfig, GitSource};
use kiln_sqlite::SqliteDb;
use std::{fs, os::unix::fs::DirBuilderExt, sync::Arc};

/// The engine, and the queue of what it accepted.
pub(crate) fn compose(config: &Config) -> Result<(Engine, Arc<dyn Queue>)> {
    let data = &config.data;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|e| {
        Error::new(ErrorKind::Unexpected, "kiln-server", "the data directory cannot be used")
            .with("path", data.display())
            .source(e)
            .hint("Choose another with --data or KILN_DATA.")
    })?;
    let docker = DockerConfig::from_vars(|name| match (name, &config.docker.host) {
        ("DOCKER_HOST", Some(host)) => Some(host.clone()),
        _ => std::env::var(name).ok().filter(|v| !v.is_empty()),
    })
    .map_err(|e| Error::new(ErrorKind::Invalid, "kiln-server", e.to_string()))?;
    let docker = DockerClient::new(docker)?;
    let git = GitConfig {
        allow_private_network: config.git.allow_private_network,
        allow_file: config.git.allow_file,
        ..GitConfig::default()
    };
    let home = HomeId::kept_in(&data.join("id"))?;
    let db = SqliteDb::open(&data.join("kiln.db"))?;
    let logs = Arc::new(FileLogs::open(data.join("logs"))?);
    let engine = Engine::builder()
        .store(Arc::new(db.store()))
        .index(Arc::new(db.index()))
        .log_sink(logs.clone())
        .log_reader(logs)
        .artifacts(Arc::new(FileArtifacts::open(data.join("artifacts"))?))
        .workspaces(Arc::new(FileWorkspaces::open(data.join("work"))?))
        .source(GitSource::new(git))
        .builder(DockerBuilder::new(docker.clone()))
        .registry(Arc::new(DockerRegistry::new(docker.clone())))
        .runtime(Arc::new(DockerRuntime::new(docker.clone(), home.clone())))
        .containers(Arc::new(DockerContainers::new(docker, home)))
        .build();
    let trace = Trace::new(Arc::new(SystemClock::default()));
    let tools = engine.tools().clone().layer_effects(&trace).layer_memory(&trace);
    Ok((Engine::builder().toolbox(tools).build(), Arc::new(db.queue())))
}
