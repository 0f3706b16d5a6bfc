//! The data directory, and the engine over it.

use crate::{args::Place, build::GivenSecrets, planner, print};
use kiln::{BuildId, CacheLimits, Engine, Error, ErrorKind, Result, port::Index};
use kiln_archive::{ArchiveConfig, ArchiveSource};
use kiln_docker::{
    DockerBuilder, DockerClient, DockerConfig, DockerContainers, DockerRegistry, DockerRuntime,
    HomeId, Host,
};
use kiln_files::{FileArtifacts, FileLogs, FileWorkspaces};
use kiln_git::{GitConfig, GitSource};
use kiln_sqlite::SqliteDb;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    net::{TcpStream, ToSocketAddrs},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The data directory of this user, and the engine over it.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) engine: Engine,
    /// What finds containers that builds left, if there is a Docker engine.
    pub(crate) runtime: Option<DockerRuntime>,
    pub(crate) secrets: Arc<GivenSecrets>,
    /// Why there is no Docker engine to clean up with, if it is known already.
    pub(crate) no_docker: Option<Error>,
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

fn default_dir() -> Result<PathBuf> {
    if let Some(data) = var("XDG_DATA_HOME") {
        return Ok(PathBuf::from(data).join("kiln"));
    }
    let home = var("HOME").ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "kiln", "there is no HOME to keep builds in")
            .hint("Name a directory with --home or KILN_HOME.")
    })?;
    Ok(PathBuf::from(home).join(".local/share/kiln"))
}

/// The directory that the arguments and the environment name, as an absolute path.
pub(crate) fn dir(place: &Place) -> Result<PathBuf> {
    let dir = place.home.clone().map_or_else(default_dir, Ok)?;
    std::path::absolute(&dir).map_err(|e| unusable(&dir, &e))
}

/// The Docker engine that the arguments and the environment name.
pub(crate) fn docker_config(place: &Place) -> Result<DockerConfig> {
    DockerConfig::from_vars(|name| match name {
        "DOCKER_HOST" => place.host.clone(),
        _ => var(name),
    })
    .map_err(|e| Error::new(ErrorKind::Invalid, "kiln", e.to_string()))
}

/// How long another machine may take to take a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Looks whether anything listens where an engine should, so that no build is made that could only
/// fail, and nothing is asked that could only go unanswered.
fn reach(host: &Host) -> Result<()> {
    let (tried, hint) = match host {
        Host::Unix(path) => (
            UnixStream::connect(path).map(drop),
            "Start Docker (`systemctl start docker`), or set DOCKER_HOST to where it listens.",
        ),
        Host::Tcp(address) => {
            (connect(address), "Check that DOCKER_HOST is right and that Docker listens there.")
        }
    };
    let Err(e) = tried else { return Ok(()) };
    let (message, hint) = match e.kind() {
        std::io::ErrorKind::PermissionDenied => (
            "this user may not talk to the Docker engine",
            "Add your user to the group `docker`, or run as root.",
        ),
        _ => ("the Docker engine cannot be reached", hint),
    };
    let error = Error::new(ErrorKind::Unavailable, "kiln", message).with("engine", host);
    Err(error.source(e.to_string()).hint(hint))
}

fn connect(address: &str) -> std::io::Result<()> {
    let mut last = std::io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(_) => return Ok(()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// The engine over a data directory; it can only look back where there is no Docker.
fn engine(
    dir: &Path,
    docker: Option<(DockerClient, HomeId)>,
    secrets: Arc<GivenSecrets>,
    registry: Option<&str>,
) -> Result<Engine> {
    let db = SqliteDb::open(&dir.join("kiln.db")).map_err(ours)?;
    let logs = Arc::new(FileLogs::open(dir.join("logs")).map_err(ours)?);
    let artifacts = Arc::new(FileArtifacts::open(dir.join("artifacts")).map_err(ours)?);
    let workspaces = Arc::new(FileWorkspaces::open(dir.join("work")).map_err(ours)?);
    let mut archives = ArchiveConfig::default();
    // It is the user's own network.
    archives.allow_private_network = true;
    let git = var("HOME").map_or_else(GitConfig::default, GitConfig::for_home);
    let mut engine = Engine::builder()
        .store(Arc::new(db.store()))
        .index(Arc::new(db.index()))
        .log_sink(logs.clone())
        .log_reader(logs)
        .artifacts(artifacts.clone())
        .workspaces(workspaces)
        .source(ArchiveSource::new(artifacts, archives))
        .source(GitSource::new(git))
        .planner(planner::planner(dir, registry)?)
        .secrets(secrets)
        .allow_local_paths(true);
    if let Some((docker, id)) = docker {
        engine = engine
            .builder(DockerBuilder::new(docker.clone()))
            .registry(Arc::new(DockerRegistry::new(docker.clone())))
            .runtime(Arc::new(DockerRuntime::new(docker.clone(), id.clone())))
            .containers(Arc::new(DockerContainers::new(docker, id)));
    }
    Ok(engine.build())
}

impl Home {
    /// Opens the data directory, for what needs no Docker engine.
    pub(crate) fn open(place: &Place) -> Result<Self> {
        Self::open_with(place, docker_config(place)?, None)
    }

    /// Opens the data directory to build there, with contexts up to a size and with the steps of a
    /// registry.
    pub(crate) fn open_to_build(
        place: &Place,
        context_max: Option<u64>,
        registry: Option<&str>,
    ) -> Result<Self> {
        let mut config = docker_config(place)?;
        config.context_bytes_max = context_max.unwrap_or(config.context_bytes_max);
        reach(&config.host)?;
        let mut home = Self::open_with(place, config, registry)?;
        match home.no_docker.take() {
            Some(e) => Err(e),
            None => Ok(home),
        }
    }

    fn open_with(place: &Place, config: DockerConfig, registry: Option<&str>) -> Result<Self> {
        let dir = dir(place)?;
        for part in [dir.clone(), dir.join("drivers"), dir.join("tmp")] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&part)
                .map_err(|e| unusable(&part, &e))?;
        }
        // Another machine is not waited for where it may not be needed.
        let near = match &config.host {
            here @ Host::Unix(_) => reach(here),
            Host::Tcp(_) => Ok(()),
        };
        let docker = near.and_then(|()| DockerClient::new(config));
        let (docker, no_docker) = match docker {
            Ok(docker) => {
                let id = HomeId::kept_in(&dir.join("id")).map_err(ours)?;
                (Some((docker, id)), None)
            }
            Err(e) => (None, Some(e)),
        };
        let runtime = docker.clone().map(|(docker, id)| DockerRuntime::new(docker, id));
        let secrets = Arc::new(GivenSecrets::default());
        let engine = engine(&dir, docker, secrets.clone(), registry)?;
        Ok(Self { dir, engine, runtime, secrets, no_docker })
    }

    fn lock_file(&self, build: &BuildId) -> PathBuf {
        self.dir.join("drivers").join(format!("{build}.lock"))
    }

    /// Takes the right to drive a build on this machine, for as long as the lock lives. The
    /// system gives it back when this process ends, however it ends. `Conflict` if another has it.
    pub(crate) fn lock(&self, build: &BuildId) -> Result<DriverLock> {
        let path = self.lock_file(build);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|e| unusable(&path, &e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let message = "another kiln drives this build now";
                    return Err(
                        Error::new(ErrorKind::Conflict, "kiln", message).with("build", build)
                    );
                }
                Err(TryLockError::Error(e)) => return Err(unusable(&path, &e)),
            }
            // Whoever had it may have removed the file between our two calls: then the next one
            // would make and lock another of this name.
            let ours = file.metadata().map_err(|e| unusable(&path, &e))?.ino();
            if fs::metadata(&path).is_ok_and(|there| there.ino() == ours) {
                return Ok(DriverLock { path, _file: file });
            }
        }
    }

    /// Where the archive is kept that a build was given on standard input.
    pub(crate) fn archive(&self, build: &BuildId) -> PathBuf {
        self.dir.join("tmp").join(format!("{build}.tar"))
    }

    /// Removes what dead builds left: here, and in the engine if there is one.
    pub(crate) async fn sweep(&self) -> Result<()> {
        if self.no_docker.is_none() {
            self.engine.tidy().await?;
        }
        self.sweep_archives().await?;
        self.sweep_locks()
    }

    /// Removes the lock files of drivers that were killed. Most go with what their build left; one
    /// that died before its build was accepted, or after it was over, has nothing else.
    fn sweep_locks(&self) -> Result<()> {
        let drivers = self.dir.join("drivers");
        for entry in fs::read_dir(&drivers).map_err(|e| unusable(&drivers, &e))?.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|n| n.strip_suffix(".lock"));
            if let Some(build) = id.and_then(|id| BuildId::new(id).ok()) {
                // One that is taken is in use.
                drop(self.lock(&build));
            }
        }
        Ok(())
    }

    /// Removes archives whose build is over or never was. One that can be resumed needs its own.
    async fn sweep_archives(&self) -> Result<()> {
        let tmp = self.dir.join("tmp");
        let unfinished = self.engine.unfinished().await?;
        for entry in fs::read_dir(&tmp).map_err(|e| unusable(&tmp, &e))?.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|n| n.strip_suffix(".tar"));
            let Some(build) = id.and_then(|id| BuildId::new(id).ok()) else { continue };
            if unfinished.contains(&build) {
                continue;
            }
            // It may be about to be accepted: whoever drives it took its lock first.
            if let Ok(_lock) = self.lock(&build) {
                fs::remove_file(entry.path()).map_err(|e| unusable(&entry.path(), &e))?;
            }
        }
        Ok(())
    }

    /// The unfinished builds that nobody drives.
    pub(crate) async fn interrupted(&self) -> Result<Vec<BuildId>> {
        let builds = self.engine.unfinished().await?;
        Ok(builds.into_iter().filter(|b| self.lock(b).is_ok()).collect())
    }

    /// Says so if there are builds to resume, and cleans up after finished ones whose driver died.
    pub(crate) async fn tell_of_interrupted(&self) {
        match self.interrupted().await {
            Ok(builds) if builds.is_empty() => {}
            Ok(builds) => {
                let names: Vec<_> = builds.iter().map(short).collect();
                let one = builds.len() == 1;
                print::note(format!(
                    "note: {} {} interrupted; `kiln resume` goes on with {}",
                    if one {
                        format!("build {}", names[0])
                    } else {
                        format!("builds {}", names.join(", "))
                    },
                    if one { "was" } else { "were" },
                    if one { "it" } else { "them" },
                ));
            }
            Err(e) => print::note(format!("warning: {e}")),
        }
        if let Err(e) = self.sweep().await {
            print::note(format!("warning: what a dead build left could not be removed: {e}"));
        }
    }

    /// Forgets caches that nobody uses or that there is no room for, without a word.
    pub(crate) async fn tidy_caches(&self) {
        if let Err(e) = self.engine.prune_caches(&CacheLimits::default()).await {
            print::note(format!("warning: old caches could not be forgotten: {e}"));
        }
    }

    /// Brings the index up to date with the journal of a build, which counts.
    pub(crate) async fn reindex(&self, build: &BuildId) -> Result<()> {
        let index: &Arc<dyn Index> = &self.engine.tools().index;
        index.put(&self.engine.view(build).await?.summary).await
    }
}

/// The right to drive a build; see [`Home::lock`].
#[derive(Debug)]
pub(crate) struct DriverLock {
    path: PathBuf,
    _file: File,
}

impl Drop for DriverLock {
    fn drop(&mut self) {
        // Only litter is left behind if this fails: the lock itself ends with the file.
        let _ = fs::remove_file(&self.path);
    }
}

/// The part of an id that people see.
pub(crate) fn short(build: &BuildId) -> &str {
    let id = build.as_str();
    id.get(..12).unwrap_or(id)
}

/// Whatever is wrong with the data directory is wrong on this side, and not how Kiln is used.
fn ours(e: Error) -> Error {
    let kind = match e.kind() {
        kind @ (ErrorKind::Corrupt | ErrorKind::Exhausted | ErrorKind::Unavailable) => kind,
        _ => ErrorKind::Unexpected,
    };
    let mut error = Error::new(kind, e.operation(), e.to_string())
        .hint(e.hint_text().unwrap_or("Choose another directory with --home or KILN_HOME."));
    if let Some(cause) = std::error::Error::source(&e) {
        error = error.source(cause.to_string());
    }
    error
}

fn unusable(path: &Path, e: &std::io::Error) -> Error {
    let kind = match e.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, "kiln", "the data directory cannot be used")
        .with("path", path.display())
        .source(e.to_string())
        .hint("Choose another with --home or KILN_HOME.")
}
