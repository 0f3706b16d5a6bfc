//! Everything that remembers.

use crate::{
    config::{Config, Place},
    limits::Limited,
    recovery::Recovering,
    retention::Room,
    telemetry::{Metrics, Watched},
};
use kiln::{
    Result,
    archive::ArchivedLogs,
    courier::{Notifiers, Outbox},
    memory::MemorySecrets,
    port::{self, ArtifactStore, LogReader, LogSink, Secrets},
};
use kiln_files::{FileArtifacts, FileLogs, SecretsDir};
use kiln_postgres::{PgConfig, PgDb};
use kiln_redis::{RedisConfig, RedisDb};
use kiln_s3::{Credentials, S3Artifacts, S3Config};
use kiln_sqlite::SqliteDb;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Half of what a lease lasts: whoever drives has renewed it by then.
pub(crate) const HOLD_BACK: Duration = Duration::from_secs(15);

/// What remembers builds.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) store: Arc<dyn port::Store>,
    pub(crate) index: Arc<dyn port::Index>,
    pub(crate) queue: Arc<dyn port::Queue>,
    pub(crate) fleet: Arc<dyn port::Fleet>,
    pub(crate) log_sink: Arc<dyn LogSink>,
    pub(crate) log_reader: Arc<dyn LogReader>,
    pub(crate) artifacts: Arc<dyn ArtifactStore>,
    pub(crate) secrets: Arc<dyn Secrets>,
    /// Where logs are written before they move, and what moves them, where they do.
    pub(crate) archive: Option<(Arc<dyn LogSink>, Arc<ArchivedLogs>)>,
    /// The bucket with the artifacts, where they are in one.
    pub(crate) bucket: Option<S3Artifacts>,
    /// Whether other servers may have the same store.
    pub(crate) is_shared: bool,
}

/// A database, whichever it is. Places that are the same share one.
#[derive(Clone, Debug)]
enum Database {
    Sqlite(SqliteDb),
    Postgres(PgDb),
    Redis(RedisDb),
}

/// What part of a place is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Builds.
    Builds,
    /// What the courier has to deliver. Apart from builds: a job that asks for nothing goes to
    /// anybody, so a build would go to the courier too.
    Errands,
}

impl Database {
    async fn open(place: &Place, config: &Config, part: Part) -> Result<Self> {
        let errands = part == Part::Errands;
        match place.scheme() {
            "postgres" | "postgresql" => {
                let schema = &config.postgres.schema;
                let schema = if errands { format!("{schema}_errands") } else { schema.clone() };
                let settings = PgConfig::new(place.expose())?.schema(&schema)?;
                Ok(Self::Postgres(PgDb::connect(&settings).await?))
            }
            "redis" | "rediss" => {
                let mut settings =
                    RedisConfig::new(place.expose())?.require(config.redis.require());
                if errands {
                    let prefix = place.parameter("prefix").unwrap_or("kiln:");
                    settings = settings.prefix(&format!("{prefix}errands:"))?;
                }
                let db = RedisDb::connect(settings).await?;
                Ok(Self::Redis(db))
            }
            _ => {
                let path = place.path().map_or_else(|| config.data.join("kiln.db"), PathBuf::from);
                let path = if errands { path.with_extension("errands.db") } else { path };
                Ok(Self::Sqlite(SqliteDb::open(&path)?))
            }
        }
    }

    /// `Unsupported` where it would lose more than it may.
    fn store(&self) -> Result<Arc<dyn port::Store>> {
        Ok(match self {
            Self::Sqlite(db) => Arc::new(db.store()),
            Self::Postgres(db) => Arc::new(db.store()),
            Self::Redis(db) => Arc::new(db.store()?),
        })
    }

    fn index(&self) -> Arc<dyn port::Index> {
        match self {
            Self::Sqlite(db) => Arc::new(db.index()),
            Self::Postgres(db) => Arc::new(db.index()),
            Self::Redis(db) => Arc::new(db.index()),
        }
    }

    fn queue(&self) -> Arc<dyn port::Queue> {
        match self {
            Self::Sqlite(db) => Arc::new(db.queue()),
            Self::Postgres(db) => Arc::new(db.queue()),
            Self::Redis(db) => Arc::new(db.queue()),
        }
    }

    fn fleet(&self) -> Arc<dyn port::Fleet> {
        match self {
            Self::Sqlite(db) => Arc::new(db.fleet()),
            Self::Postgres(db) => Arc::new(db.fleet()),
            Self::Redis(db) => Arc::new(db.fleet()),
        }
    }

    /// Where its logs are; SQLite has none.
    fn logs(&self) -> Option<(Arc<dyn LogSink>, Arc<dyn LogReader>)> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(db) => {
                let logs = Arc::new(db.logs());
                Some((logs.clone(), logs))
            }
            Self::Redis(db) => {
                let logs = Arc::new(db.logs());
                Some((logs.clone(), logs))
            }
        }
    }
}

impl Memory {
    pub(crate) async fn of(config: &Config) -> Result<Self> {
        let store_at = config.store.place()?.unwrap_or_else(Place::sqlite);
        let store = Database::open(&store_at, config, Part::Builds).await?;
        let queue = match config.queue.place()? {
            Some(place) if place != store_at => {
                Database::open(&place, config, Part::Builds).await?
            }
            _ => store.clone(),
        };
        let (log_sink, log_reader) = match config.logs.place()? {
            None => match store.logs() {
                Some(logs) => logs,
                None => files(config.data.join("logs"))?,
            },
            Some(place) if place.scheme() == "files" => {
                files(place.path().map_or_else(|| config.data.join("logs"), PathBuf::from))?
            }
            Some(place) => {
                let database = match place == store_at {
                    true => store.clone(),
                    false => Database::open(&place, config, Part::Builds).await?,
                };
                match database.logs() {
                    Some(logs) => logs,
                    None => files(config.data.join("logs"))?,
                }
            }
        };
        let (artifacts, bucket) = artifacts(config).await?;
        let journal = store.store()?;
        let queue = Recovering::around(queue.queue(), HOLD_BACK);
        let queue = Limited::around(queue, journal.clone(), &config.limits);
        Ok(Self {
            index: store.index(),
            fleet: store.fleet(),
            store: journal,
            queue,
            log_sink,
            log_reader,
            artifacts,
            bucket,
            archive: None,
            secrets: match &config.secrets.dir {
                Some(dir) => Arc::new(SecretsDir::at(dir.clone())),
                None => Arc::new(MemorySecrets::default()),
            },
            is_shared: store_at.is_shared(),
        })
    }
}

impl Memory {
    /// This memory, with what passes counted, and refused while there is no room.
    pub(crate) fn watched(self, metrics: &Metrics, room: &Room) -> Self {
        Self {
            store: Arc::new(Watched::new(self.store, metrics.clone(), room.clone())),
            log_sink: Arc::new(Watched::new(self.log_sink, metrics.clone(), room.clone())),
            artifacts: Arc::new(Watched::new(self.artifacts, metrics.clone(), room.clone())),
            ..self
        }
    }

    /// This memory, with logs that move to the artifacts once they are over.
    pub(crate) fn archived(self) -> Self {
        let Self { log_sink, log_reader, artifacts, .. } = &self;
        let logs = ArchivedLogs::new(log_sink.clone(), log_reader.clone(), artifacts.clone());
        let logs = Arc::new(logs);
        let archive = Some((log_sink.clone(), logs.clone()));
        Self { log_sink: logs.clone(), log_reader: logs, archive, ..self }
    }

    /// This memory, with notes of what is to be told to whom, and where they are.
    pub(crate) async fn noted(
        self,
        config: &Config,
        notifiers: &Notifiers,
    ) -> Result<(Self, Option<Arc<dyn port::Queue>>)> {
        if notifiers.is_empty() {
            return Ok((self, None));
        }
        let place = match config.queue.place()? {
            Some(place) => Some(place),
            None => config.store.place()?,
        };
        let place = place.unwrap_or_else(Place::sqlite);
        let errands = Database::open(&place, config, Part::Errands).await?.queue();
        let outbox = Outbox::new(self.store.clone(), errands.clone(), notifiers.clone());
        Ok((Self { store: Arc::new(outbox), ..self }, Some(errands)))
    }
}

fn files(path: PathBuf) -> Result<(Arc<dyn LogSink>, Arc<dyn LogReader>)> {
    let logs = Arc::new(FileLogs::open(path)?);
    Ok((logs.clone(), logs))
}

/// Where artifacts are kept; in S3 there is something to sweep now and then.
async fn artifacts(config: &Config) -> Result<(Arc<dyn ArtifactStore>, Option<S3Artifacts>)> {
    match config.artifacts.place()? {
        Some(place) if place.scheme() == "s3" => {
            let credentials = match &config.artifacts.credentials {
                Some(file) => Credentials::from_file(file, "default")?,
                None => Credentials::from_vars(|name| std::env::var(name).ok())?,
            };
            let store = S3Artifacts::new(&S3Config::parse(place.expose())?, &credentials)?;
            store.check().await?;
            Ok((Arc::new(store.clone()), Some(store)))
        }
        place => {
            let path = place.as_ref().and_then(Place::path).map(PathBuf::from);
            let path = path.unwrap_or_else(|| config.data.join("artifacts"));
            Ok((Arc::new(FileArtifacts::open(path)?), None))
        }
    }
}
