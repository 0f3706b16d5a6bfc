//! Connections: some that are lent to whoever asks, and the way to make others.

use crate::{
    config::PgConfig,
    error::{CALL_MAX, Fault},
    tls,
};
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolConfig, RecyclingMethod, Runtime, Timeouts,
};
use kiln::{Error, ErrorKind, Result};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

/// A parameter of a statement.
pub(crate) type Param = Box<dyn ToSql + Send + Sync>;

/// Connections of one purpose, made as they are needed.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Pool);

impl Lines {
    pub(crate) fn new(config: &PgConfig, count: usize) -> Result<Self> {
        let manager = Manager::from_config(
            config.session(),
            tls::connector(config)?,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let timeouts =
            Timeouts { wait: Some(CALL_MAX), create: Some(CALL_MAX), recycle: Some(CALL_MAX) };
        let pool = Pool::builder(manager)
            .config(PoolConfig { max_size: count, timeouts, ..PoolConfig::default() })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Unexpected, "PgDb::connect", "there is no pool").source(e)
            })?;
        Ok(Self(pool))
    }

    /// A connection for a while.
    pub(crate) async fn line(&self) -> Result<Object, Fault> {
        Ok(self.0.get().await?)
    }

    /// Asks a question that is asked often, and so prepared once a connection.
    pub(crate) async fn ask(&self, sql: &str, params: &[Param]) -> Result<Vec<Row>, Fault> {
        let asked = async {
            let line = self.line().await?;
            let statement = line.prepare_cached(sql).await?;
            let params: Vec<_> = params.iter().map(plain).collect();
            Ok(line.query(&statement, &params).await?)
        };
        in_time(asked).await
    }

    /// Asks a question that is put together for what it asks, and planned for its parameters.
    pub(crate) async fn ask_once(
        &self,
        sql: &str,
        params: &[(Param, Type)],
    ) -> Result<Vec<Row>, Fault> {
        let asked = async {
            let line = self.line().await?;
            let params: Vec<_> = params.iter().map(|(p, t)| (plain(p), t.clone())).collect();
            Ok(line.query_typed(sql, &params).await?)
        };
        in_time(asked).await
    }
}

/// A parameter as the library wants it.
pub(crate) fn plain(param: &Param) -> &(dyn ToSql + Sync) {
    param.as_ref()
}

/// What a call comes to, if it does within [`CALL_MAX`].
pub(crate) async fn in_time<T>(call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(CALL_MAX, call).await.unwrap_or(Err(Fault::Late))
}
