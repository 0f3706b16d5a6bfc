//! What the servers of a test share.

use kiln::{
    Engine, Result, Toolbox,
    port::{Fleet, Queue},
};
use kiln_files::FileLogs;
use kiln_postgres::{PgConfig, PgDb};
use kiln_redis::{RedisConfig, RedisDb};
use kiln_sqlite::SqliteDb;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// A database of the test services, as one process sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) url: String,
    /// Its port in that URL.
    pub(crate) port: u16,
}

impl Place {
    /// The same through a line.
    pub(crate) fn through(&self, port: u16) -> Self {
        let url = self.url.replace(&format!(":{}/", self.port), &format!(":{port}/"));
        assert_ne!(url, self.url, "the port is not in the URL");
        Self { url, port }
    }
}

/// Where everything is kept: in PostgreSQL, or in files of one server without it; builds wait in
/// Redis, where that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stores {
    pub(crate) postgres: Option<Place>,
    pub(crate) redis: Option<Place>,
    /// The schema, and the prefix of keys: nobody else has them.
    pub(crate) name: String,
    pub(crate) data: PathBuf,
}

/// What remembers builds, and where they wait.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) engine: Engine,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) fleet: Arc<dyn Fleet>,
}

impl Stores {
    pub(crate) async fn open(&self) -> Result<Open> {
        let mut open = match &self.postgres {
            Some(place) => self.postgres(place).await?,
            None => self.files()?,
        };
        if let Some(place) = &self.redis {
            let config = RedisConfig::new(&place.url)?.prefix(&format!("{}:", self.name))?;
            open.queue = Arc::new(RedisDb::connect(config).await?.queue());
        }
        Ok(open)
    }

    async fn postgres(&self, place: &Place) -> Result<Open> {
        // The schema goes with the server: nothing here can remove it after the last process.
        let db = PgDb::connect(&PgConfig::new(&place.url)?.schema(&self.name)?).await?;
        let logs = Arc::new(db.logs());
        let tools = Toolbox {
            store: Arc::new(db.store()),
            index: Arc::new(db.index()),
            log_sink: logs.clone(),
            log_reader: logs,
            ..Toolbox::default()
        };
        let engine = Engine::builder().toolbox(tools).build();
        Ok(Open { engine, queue: Arc::new(db.queue()), fleet: Arc::new(db.fleet()) })
    }

    fn files(&self) -> Result<Open> {
        let db = SqliteDb::open(&self.data.join("kiln.db"))?;
        let logs = Arc::new(FileLogs::open(self.data.join("logs"))?);
        let tools = Toolbox {
            store: Arc::new(db.store()),
            index: Arc::new(db.index()),
            log_sink: logs.clone(),
            log_reader: logs,
            ..Toolbox::default()
        };
        let engine = Engine::builder().toolbox(tools).build();
        Ok(Open { engine, queue: Arc::new(db.queue()), fleet: Arc::new(db.fleet()) })
    }
}
