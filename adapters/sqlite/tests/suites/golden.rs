//! Every version of the file against its golden file: one written by an older Kiln opens, is
//! brought up to date and holds what it held; the schema of a version never changes.

use crate::common;
use kiln::{
    BuildId, Event, NodeId, Outcome, Owner, Placement, Resources, Seq, StepId, Timestamp, port::*,
    state::Phase,
};
use kiln_sqlite::SqliteDb;
use rusqlite::{Connection, types::ValueRef};
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

/// What this Kiln writes.
const VERSION: usize = 3;

fn golden(version: usize) -> PathBuf {
    let name = format!("../../tests/golden/sqlite/v{version}.sql");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn build(name: &str) -> BuildId {
    common::build(name)
}

fn summary(name: &str, at: u64) -> BuildSummary {
    BuildSummary {
        build: build(name),
        seq: Seq(2),
        owner: Owner::new("ann").unwrap(),
        labels: BTreeMap::from([("repo".to_owned(), "it's \"app\"".to_owned())]),
        phase: Phase::Finished,
        outcome: Some(Outcome::Failed { step: StepId(1) }),
        accepted_at: Timestamp(at),
        finished_at: Some(Timestamp(at + 9)),
        steps: 3,
        steps_over: 2,
    }
}

fn events() -> [Event; 2] {
    let reason = "it's enough".to_owned();
    let cause = kiln::CancelCause::Request;
    [
        Event::CancelRequested { cause, reason, force: false, by: None },
        Event::Finished { outcome: Outcome::Cancelled },
    ]
}

fn job() -> Job {
    let placement = Placement {
        labels: BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]),
        resources: Resources { cpu_millis: 500, memory_bytes: 1 << 30 },
        ..Placement::default()
    };
    Job { priority: -3, placement, ..Job::new(build("open"), Owner::new("ann").unwrap()) }
}

fn node() -> Node {
    Node {
        id: NodeId::new("n-1").unwrap(),
        labels: BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]),
        slots: 4,
        resources: Resources::default(),
        drained: false,
        seen_at: Timestamp(1_700_000_000_000),
    }
}

/// Stores one of each.
async fn fill(db: &SqliteDb) {
    let entries = events().map(|event| Entry { at: Timestamp(1_700_000_000_000), event });
    let store = db.store();
    store.append(&build("over"), Seq::START, &entries).await.unwrap();
    store.append(&build("open"), Seq::START, &entries[..1]).await.unwrap();
    for (name, at) in [("over", 5), ("open", 6)] {
        db.index().put(&summary(name, at)).await.unwrap();
    }
    if VERSION >= 2 {
        db.queue().push(job()).await.unwrap();
        db.fleet().enrol(&node()).await.unwrap();
    }
}

/// Expects what `fill` stored, as far as a version could keep it.
async fn expect(db: &SqliteDb, version: usize) {
    let store = db.store();
    let journal = store.load(&build("over"), Seq::START).await.unwrap();
    assert_eq!(journal.into_iter().map(|r| r.event).collect::<Vec<_>>(), events());
    assert_eq!(store.unfinished().await.unwrap(), [build("open")]);
    let page = Page { max: 9, after: None };
    let labels = summary("over", 5).labels;
    for filter in [BuildFilter::default(), BuildFilter { labels, ..BuildFilter::default() }] {
        let list = db.index().list(&filter, &page).await.unwrap();
        assert_eq!(list, [summary("open", 6), summary("over", 5)], "{filter:?}");
    }
    if version >= 2 {
        assert_eq!(db.fleet().nodes().await.unwrap(), [node()]);
        let ttl = std::time::Duration::from_secs(60);
        let lease = db.queue().lease(&node(), ttl, ttl).await.unwrap().unwrap();
        assert_eq!(lease.job, job());
    }
}

fn schema(connection: &Connection) -> String {
    let sql = "SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY rowid";
    let mut select = connection.prepare(sql).unwrap();
    let all = select.query_map([], |r| r.get::<_, String>(0)).unwrap();
    all.map(|sql| sql.unwrap() + ";\n").collect()
}

/// A value as SQL.
fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Text(text) => {
            format!("'{}'", std::str::from_utf8(text).unwrap().replace('\'', "''"))
        }
        other => panic!("{other:?} is in no table"),
    }
}

/// A database as SQL that makes it again.
fn dump(path: &Path) -> String {
    let c = Connection::open(path).unwrap();
    let mut text = String::new();
    for pragma in ["application_id", "user_version"] {
        let value: i64 = c.pragma_query_value(None, pragma, |r| r.get(0)).unwrap();
        writeln!(text, "PRAGMA {pragma} = {value};").unwrap();
    }
    text.push_str(&schema(&c));
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid";
    let mut tables = c.prepare(sql).unwrap();
    let tables = tables.query_map([], |r| r.get::<_, String>(0)).unwrap();
    for table in tables.map(Result::unwrap) {
        let mut select = c
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .unwrap_or_else(|_| c.prepare(&format!("SELECT * FROM {table}")).unwrap());
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns).map(|i| literal(row.get_ref(i).unwrap()));
            let values = values.collect::<Vec<_>>().join(", ");
            writeln!(text, "INSERT INTO {table} VALUES ({values});").unwrap();
        }
    }
    text
}

/// The file of a version, made anew from its golden file.
fn stored(dir: &Path, version: usize) -> PathBuf {
    let path = dir.join(format!("v{version}.db"));
    let sql = std::fs::read_to_string(golden(version)).unwrap();
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    path
}

#[test]
fn golden_sqlite_of_this_version_is_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    common::run(async { fill(&SqliteDb::open(&path).unwrap()).await });
    let text = dump(&path);
    // A version is written once: another schema is another version.
    if std::env::var_os("KILN_BLESS").is_some() && !golden(VERSION).exists() {
        std::fs::create_dir_all(golden(VERSION).parent().unwrap()).unwrap();
        std::fs::write(golden(VERSION), &text).unwrap();
    }
    let golden = std::fs::read_to_string(golden(VERSION)).unwrap();
    assert_eq!(text, golden, "another schema needs another version and a golden file of its own");
    assert!(golden.contains(&format!("PRAGMA user_version = {VERSION};")));
}

#[test]
fn golden_sqlite_of_every_version_opens_and_holds_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new.db");
    drop(SqliteDb::open(&new).unwrap());
    let fresh = schema(&Connection::open(&new).unwrap());
    for version in 1..=VERSION {
        let path = stored(dir.path(), version);
        common::run(async {
            let db = SqliteDb::open(&path).unwrap();
            expect(&db, version).await;
            assert_eq!(schema(&Connection::open(&path).unwrap()), fresh, "from version {version}");
            // And it is good for more.
            common::append(&db, "more", 0).await.unwrap();
            db.queue().push(Job::new(build("more"), Owner::local())).await.unwrap();
        });
    }
}
