//! The schema: made or brought up to date by whoever connects first, while others wait.

use crate::{config::PgConfig, error::translate, lines::Lines};
use kiln::{Error, ErrorKind, Result};
use tokio_postgres::GenericClient;

const OP: &str = "PgDb::connect";
/// The first server that this works on.
const SERVER_MIN: i32 = 130_000;
/// One for each version. One that was released never changes.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001.sql")];

/// Makes the schema, or brings it up to date, where it is not.
pub(crate) async fn ensure(lines: &Lines, config: &PgConfig) -> Result<()> {
    let failed = |e: tokio_postgres::Error| translate(OP, &e).with("schema", &config.schema);
    let mut line = lines.line().await.map_err(|fault| fault.told(OP))?;
    check_server(&**line).await?;
    let known = MIGRATIONS.len();
    if version(&**line, &config.schema).await? == Some(known) {
        return Ok(());
    }
    let transaction = line.transaction().await.map_err(failed)?;
    // Others who connect wait here for as long as it takes.
    let sql = format!(
        "SET LOCAL lock_timeout = 0; \
         SELECT pg_advisory_xact_lock(hashtext('kiln schema'), hashtext('{}'))",
        config.schema
    );
    transaction.batch_execute(&sql).await.map_err(failed)?;
    let before = version(&*transaction, &config.schema).await?;
    if before.is_none() {
        let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", config.schema);
        transaction.batch_execute(&sql).await.map_err(failed)?;
    }
    for (i, sql) in MIGRATIONS.iter().enumerate().skip(before.unwrap_or(0)) {
        transaction.batch_execute(sql).await.map_err(failed)?;
        let version = i32::try_from(i + 1).unwrap_or(i32::MAX);
        let sql = "INSERT INTO kiln_schema (version) VALUES ($1)";
        transaction.execute(sql, &[&version]).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

async fn check_server(line: &impl GenericClient) -> Result<()> {
    let sql =
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')";
    let row = line.query_one(sql, &[]).await.map_err(|e| translate(OP, &e))?;
    let (server, encoding): (i32, String) = (row.get(0), row.get(1));
    if server < SERVER_MIN {
        return Err(Error::new(ErrorKind::Unsupported, OP, "this PostgreSQL is too old")
            .with("version", server / 10_000)
            .hint("Use PostgreSQL 13 or later."));
    }
    if encoding != "UTF8" {
        return Err(Error::new(ErrorKind::Unsupported, OP, "this database is not in UTF-8")
            .with("encoding", encoding)
            .hint("Make one with `createdb --encoding=UTF8 --template=template0`."));
    }
    Ok(())
}

/// The version of the schema: none if there is nothing in it. `Unsupported` if it is newer,
/// `Invalid` if it is not ours.
async fn version(line: &impl GenericClient, schema: &str) -> Result<Option<usize>> {
    let failed = |e: tokio_postgres::Error| translate(OP, &e).with("schema", schema);
    let sql = "SELECT count(*), count(*) FILTER (WHERE relname = 'kiln_schema' AND relkind = 'r')
               FROM pg_class WHERE relnamespace = to_regnamespace($1)";
    let row = line.query_one(sql, &[&schema]).await.map_err(failed)?;
    let foreign = || {
        Error::new(ErrorKind::Invalid, OP, "this schema holds tables that are not Kiln's")
            .with("schema", schema)
            .hint("Name a schema that nobody else uses.")
    };
    match (row.get::<_, i64>(0), row.get::<_, i64>(1)) {
        (0, _) => return Ok(None),
        (_, 0) => return Err(foreign()),
        _ => {}
    }
    let sql = format!("SELECT max(version) FROM {schema}.kiln_schema");
    let row = line.query_one(&sql, &[]).await.map_err(failed)?;
    let version = row.try_get::<_, Option<i32>>(0).map_err(|_| foreign())?.ok_or_else(foreign)?;
    match usize::try_from(version) {
        Ok(version) if (1..=MIGRATIONS.len()).contains(&version) => Ok(Some(version)),
        _ => {
            Err(Error::new(ErrorKind::Unsupported, OP, "a newer version of Kiln made this schema")
                .with("schema", schema)
                .with("version", version)
                .with("known", MIGRATIONS.len())
                .hint("Run that version of Kiln."))
        }
    }
}
