//! The data directory, and the engine over it.

use crate::print;
use kiln::{
    BuildId, Engine, Error, ErrorKind, Result,
    port::{BuildFilter, BuildSummary, Index, Page},
};
use kiln_docker::{DockerBuilder, DockerClient, DockerConfig, DockerRegistry};
use kiln_files::{FileArtifacts, FileLogs, FileWorkspaces};
use kiln_git::{GitConfig, GitSource};
use kiln_sqlite::SqliteDb;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The data directory of this user, and the engine over it.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) docker: DockerClient,
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

impl Home {
    pub(crate) fn open(dir: Option<PathBuf>, host: Option<String>) -> Result<Self> {
        let dir = dir.map_or_else(default_dir, Ok)?;
        let dir = std::path::absolute(&dir).map_err(|e| unusable(&dir, &e))?;
        for part in [dir.clone(), dir.join("drivers"), dir.join("tmp")] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&part)
                .map_err(|e| unusable(&part, &e))?;
        }
        let config = DockerConfig::from_vars(|name| match name {
            "DOCKER_HOST" => host.clone(),
            _ => var(name),
        })
        .map_err(|e| Error::new(ErrorKind::Invalid, "kiln", e.to_string()))?;
        let docker = DockerClient::new(config)?;
        let db = SqliteDb::open(&dir.join("kiln.db"))?;
        let logs = Arc::new(FileLogs::open(dir.join("logs"))?);
        let git = var("HOME").map_or_else(GitConfig::default, GitConfig::for_home);
        let engine = Engine::builder()
            .store(Arc::new(db.store()))
            .index(Arc::new(db.index()))
            .log_sink(logs.clone())
            .log_reader(logs)
            .artifacts(Arc::new(FileArtifacts::open(dir.join("artifacts"))?))
            .workspaces(Arc::new(FileWorkspaces::open(dir.join("work"))?))
            .source(GitSource::new(git))
            .builder(DockerBuilder::new(docker.clone()))
            .registry(Arc::new(DockerRegistry::new(docker.clone())))
            .allow_local_paths(true)
            .build();
        Ok(Self { dir, engine, docker })
    }

    fn lock_file(&self, build: &BuildId) -> PathBuf {
        self.dir.join("drivers").join(format!("{build}.lock"))
    }

    /// Takes the right to drive a build on this machine, for as long as the lock lives. The
    /// system gives it back when this process ends, however it ends. `Conflict` if another has it.
    pub(crate) fn lock(&self, build: &BuildId) -> Result<DriverLock> {
        let path = self.lock_file(build);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| unusable(&path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(DriverLock { path, _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Conflict, "kiln", "another kiln drives this build now")
                    .with("build", build))
            }
            Err(TryLockError::Error(e)) => Err(unusable(&path, &e)),
        }
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
        if let Err(e) = self.engine.tidy().await {
            print::note(format!("warning: what a dead build left could not be removed: {e}"));
        }
    }

    /// The build that an id, or the beginning of one, names.
    pub(crate) async fn find(&self, prefix: &str) -> Result<BuildSummary> {
        let filter = BuildFilter { id_prefix: Some(prefix.into()), ..BuildFilter::default() };
        let mut found = self.engine.list(&filter, &Page { max: 10, after: None }).await?;
        if let Some(exact) = found.iter().find(|b| b.build.as_str() == prefix) {
            return Ok(exact.clone());
        }
        match found.len() {
            0 => Err(Error::new(
                ErrorKind::NotFound,
                "kiln",
                format!("there is no build `{prefix}`"),
            )
            .hint("`kiln builds` lists them.")),
            1 => Ok(found.remove(0)),
            _ => {
                let names: Vec<_> = found.iter().map(|b| b.build.to_string()).collect();
                Err(Error::new(
                    ErrorKind::Invalid,
                    "kiln",
                    format!("several builds begin with `{prefix}`"),
                )
                .with("builds", names.join(", "))
                .hint("Write more of the id."))
            }
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
