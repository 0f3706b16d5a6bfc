//! What connecting promises: whose the schema is, its version, and a server that says no.

use crate::common::{Place, append, loaded, raw};
use kiln::{BuildId, Error, ErrorKind, Status};
use kiln_postgres::{PgConfig, PgDb};

async fn refused(config: &PgConfig) -> (ErrorKind, bool) {
    let e = PgDb::connect(config).await.unwrap_err();
    (e.kind(), e.hint_text().is_some())
}

/// Many connect to a new schema at once: each waits for the one that makes it.
#[tokio::test]
async fn a_new_schema_is_made_once_however_many_connect() {
    for _ in 0..4 {
        let Some(place) = Place::new("a_new_schema_is_made_once_however_many_connect") else {
            return;
        };
        let all = (0..6).map(|_| {
            let config = place.config();
            tokio::spawn(async move { PgDb::connect(&config).await.map(drop) })
        });
        for one in futures::future::join_all(all).await {
            one.unwrap().unwrap();
        }
        let sql = "SELECT count(*), max(version) FROM kiln_schema";
        let row = place.raw().await.query_one(sql, &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (1, 1));
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Some(place) = Place::new("a_newer_schema_is_refused") else { return };
    drop(place.db().await);
    let raw = place.raw().await;
    for version in [99, -1] {
        raw.execute("UPDATE kiln_schema SET version = $1", &[&version]).await.unwrap();
        assert_eq!(refused(&place.config()).await, (ErrorKind::Unsupported, true));
    }
    raw.execute("UPDATE kiln_schema SET version = 1", &[]).await.unwrap();
    drop(place.db().await);
}

#[tokio::test]
async fn a_schema_of_another_program_is_refused_and_left_as_it_is() {
    let test = "a_schema_of_another_program_is_refused_and_left_as_it_is";
    for sql in [
        "CREATE TABLE photo (id integer)",
        "CREATE VIEW job AS SELECT 1 AS id",
        "CREATE TABLE kiln_schema (id integer)",
        "CREATE TABLE kiln_schema (version text); INSERT INTO kiln_schema VALUES ('1')",
        "CREATE TABLE kiln_schema (version integer)",
    ] {
        let Some(place) = Place::new(test) else { return };
        let raw = raw(&place.url).await;
        let schema = &place.schema;
        let make = format!("CREATE SCHEMA {schema}; SET search_path = {schema}; {sql}");
        raw.batch_execute(&make).await.unwrap();
        assert_eq!(refused(&place.config()).await, (ErrorKind::Invalid, true), "{sql}");
        let count = "SELECT count(*) FROM pg_class WHERE relnamespace = $1::text::regnamespace";
        let row = raw.query_one(count, &[schema]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 1, "{sql}");
    }
    // An empty schema is nobody's.
    let Some(place) = Place::new(test) else { return };
    raw(&place.url).await.batch_execute(&format!("CREATE SCHEMA {}", place.schema)).await.unwrap();
    drop(place.db().await);
}

#[tokio::test]
async fn schemas_are_apart() {
    let Some(place) = Place::new("schemas_are_apart") else { return };
    let other = Place::at(place.url.clone());
    let (db, others) = (place.db().await, other.db().await);
    append(&db, "b", 0).await.unwrap();
    assert_eq!((loaded(&db, "b").await.unwrap(), loaded(&others, "b").await.unwrap()), (1, 0));
}

/// A user who may use the tables and make nothing is enough once the schema is there.
#[tokio::test]
async fn a_user_needs_no_right_to_make_tables_that_are_there() {
    let test = "a_user_needs_no_right_to_make_tables_that_are_there";
    let Some(place) = Place::new(test) else { return };
    let (raw, schema) = (raw(&place.url).await, &place.schema);
    let role = format!("r_{schema}");
    let made = format!("CREATE ROLE {role} LOGIN PASSWORD 'geheim'");
    raw.batch_execute(&made).await.unwrap();
    let (_, host) = place.url.split_once('@').unwrap();
    let config = PgConfig::new(&format!("postgres://{role}:geheim@{host}")).unwrap();
    let config = config.schema(schema).unwrap();
    assert_eq!(refused(&config).await, (ErrorKind::Denied, true));
    drop(place.db().await);
    let grant = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    );
    raw.batch_execute(&grant).await.unwrap();
    let db = PgDb::connect(&config).await.unwrap();
    append(&db, "b", 0).await.unwrap();
    assert_eq!(loaded(&db, "b").await.unwrap(), 1);
    drop(db);
    let gone = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    raw.batch_execute(&gone).await.unwrap();
}

/// What is wrong is told by its kind, and nothing tells the password.
#[tokio::test]
async fn a_server_that_says_no_is_told_apart() {
    let Some(place) = Place::new("a_server_that_says_no_is_told_apart") else { return };
    let (host, rest) = place.url.split_once('@').unwrap().1.split_once(':').unwrap();
    let port = rest.split('/').next().unwrap();
    let url = |password: &str, port: &str, database: &str| {
        format!("postgres://kiln:{password}@{host}:{port}/{database}")
    };
    let right = place.url.split(':').nth(2).unwrap().split('@').next().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().port().to_string();
    drop(free);
    for (url, kind) in [
        (url("wrong-geheim", port, "kiln"), ErrorKind::Denied),
        (url(right, port, "no_such_database"), ErrorKind::Invalid),
        (url(right, &nobody, "kiln"), ErrorKind::Unavailable),
        (format!("{}?sslmode=verify-full", url(right, port, "kiln")), ErrorKind::Denied),
    ] {
        let e: Error = PgDb::connect(&PgConfig::new(&url).unwrap()).await.unwrap_err();
        assert_eq!(e.kind(), kind, "{e:?}");
        assert!(e.hint_text().is_some(), "{e:?}");
        assert_eq!(e.retry_status() == Status::Temporary, kind == ErrorKind::Unavailable, "{e:?}");
        let said = format!("{e:?} {e} {:?}", e.hint_text());
        assert!(!said.contains("geheim") && !said.contains(right), "{said}");
    }
    let db = place.db().await;
    let said = format!("{db:?} {:?} {:?}", db.store(), place.config());
    assert!(!said.contains(right), "{said}");
    assert!(BuildId::new(right).is_ok(), "the password of the test server is a plain word");
}
