//! Every version of the schema against its golden file: one made by an older Kiln is brought up to
//! date and holds what it held; the schema of a version never changes.

use crate::common::{self, Place};
use kiln::{
    Event, NodeId, Outcome, Owner, Placement, Resources, Seq, StepId, Timestamp, port::*,
    state::Phase,
};
use kiln_postgres::PgDb;
use std::{collections::BTreeMap, fmt::Write, path::PathBuf, time::Duration};
use tokio_postgres::{Client, SimpleQueryMessage};

/// What this Kiln writes.
const VERSION: usize = 1;
const TTL: Duration = Duration::from_secs(60);

fn golden(version: usize) -> PathBuf {
    let name = format!("../../tests/golden/postgres/v{version}.sql");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn summary(name: &str, at: u64) -> BuildSummary {
    BuildSummary {
        build: common::build(name),
        seq: Seq(2),
        owner: Owner::new("ann").unwrap(),
        labels: BTreeMap::from([("repo".to_owned(), "it's \"app\"\0".to_owned())]),
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
        Event::CancelRequested { cause, reason, by: None, force: false },
        Event::Finished { outcome: Outcome::Cancelled },
    ]
}

fn job() -> Job {
    let placement = Placement {
        labels: BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]),
        resources: Resources { cpu_millis: 500, memory_bytes: 1 << 30 },
        ..Placement::default()
    };
    let limits = BTreeMap::from([("branch=main".to_owned(), 2)]);
    let owner = Owner::new("ann").unwrap();
    Job { priority: -3, placement, limits, ..Job::new(common::build("open"), owner) }
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

fn records() -> [LogRecord; 3] {
    let record = |at, body| LogRecord {
        at: Offset(at),
        time: Timestamp(1_700_000_000_000),
        step: StepId(2),
        attempt: 1,
        body,
    };
    let data = "it's\n".into();
    [
        record(0, LogBody::Started),
        record(1, LogBody::Bytes { stream: Stream::Stderr, data }),
        record(6, LogBody::Ended(StepEnd::Failed)),
    ]
}

/// Stores one of each.
async fn fill(db: &PgDb) {
    let (over, open) = (common::build("over"), common::build("open"));
    let entries = events().map(|event| Entry { at: Timestamp(1_700_000_000_000), event });
    let store = db.store();
    store.append(&over, Seq::START, &entries).await.unwrap();
    store.append(&open, Seq::START, &entries[..1]).await.unwrap();
    for (name, at) in [("over", 5), ("open", 6)] {
        db.index().put(&summary(name, at)).await.unwrap();
    }
    db.queue().push(job()).await.unwrap();
    db.fleet().enrol(&node()).await.unwrap();
    db.logs().append(&over, Offset(0), &records()).await.unwrap();
    db.logs().close(&over).await.unwrap();
}

/// Expects what `fill` stored.
async fn expect(db: &PgDb) {
    let (over, open) = (common::build("over"), common::build("open"));
    let store = db.store();
    let journal = store.load(&over, Seq::START).await.unwrap();
    assert_eq!(journal.into_iter().map(|r| r.event).collect::<Vec<_>>(), events());
    assert_eq!(store.unfinished().await.unwrap(), [open]);
    let page = Page { max: 9, after: None };
    let labels = summary("over", 5).labels;
    for filter in [BuildFilter::default(), BuildFilter { labels, ..BuildFilter::default() }] {
        let list = db.index().list(&filter, &page).await.unwrap();
        assert_eq!(list, [summary("open", 6), summary("over", 5)], "{filter:?}");
    }
    assert_eq!(db.fleet().nodes().await.unwrap(), [node()]);
    let lease = db.queue().lease(&node(), TTL, TTL).await.unwrap().unwrap();
    assert_eq!(lease.job, job());
    let page = db.logs().read(&over, Offset(0), 1000, TTL).await.unwrap();
    assert_eq!((page.records.as_slice(), page.closed), (records().as_slice(), true));
}

/// The first column of every row.
async fn column(raw: &Client, sql: &str) -> Vec<String> {
    let said = raw.simple_query(sql).await.unwrap();
    let rows = said.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    rows.collect()
}

/// The tables, indexes, functions and sequences of a schema, as SQL that makes them again.
async fn schema(raw: &Client) -> String {
    let tables = "SELECT 'CREATE TABLE ' || c.relname || E' (\\n    ' || string_agg(
            quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
            || CASE WHEN l.collname = 'C' THEN ' COLLATE \"C\"' ELSE '' END
            || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
            || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
            E',\\n    ' ORDER BY a.attnum) || E'\\n)'
            || coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '') || ';'
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
        GROUP BY c.oid, c.relname, c.reloptions ORDER BY c.relname";
    let storage = "SELECT 'ALTER TABLE ' || attrelid::regclass || ' ALTER COLUMN ' || attname
            || ' SET STORAGE EXTERNAL;' FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
            AND attstorage = 'e' ORDER BY 1";
    let indexes = "SELECT indexdef || ';' FROM pg_indexes WHERE schemaname = current_schema()
        ORDER BY indexname";
    let keys = "SELECT 'ALTER TABLE ' || conrelid::regclass || ' ADD ' || pg_get_constraintdef(oid)
            || ';' FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
        ORDER BY conname";
    let functions = "SELECT pg_get_functiondef(oid) || ';' FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace ORDER BY proname";
    let sequences = "SELECT 'CREATE SEQUENCE ' || sequencename || ' AS ' || data_type || ';'
        FROM pg_sequences WHERE schemaname = current_schema() ORDER BY 1";
    let mut text = String::new();
    for sql in [sequences, tables, storage, keys, indexes, functions] {
        for thing in column(raw, sql).await {
            writeln!(text, "{thing}").unwrap();
        }
    }
    text
}

/// The rows of all tables as SQL, but for times that the server's clock says.
async fn rows(raw: &Client) -> String {
    let names = "SELECT c.relname || ' ' || string_agg(
            'coalesce(quote_literal(' || quote_ident(a.attname) || '::text), ''NULL'')',
            ' || '', '' || ' ORDER BY a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
            AND c.relname <> 'kiln_schema'
        GROUP BY c.relname ORDER BY c.relname";
    let mut text = String::new();
    for line in column(raw, names).await {
        let (table, values) = line.split_once(' ').unwrap();
        for row in column(raw, &format!("SELECT {values} FROM {table} ORDER BY 1")).await {
            writeln!(text, "INSERT INTO {table} VALUES ({row});").unwrap();
        }
    }
    let last = column(raw, "SELECT last_value FROM number").await;
    writeln!(text, "SELECT setval('number', {});", last[0]).unwrap();
    let version = column(raw, "SELECT max(version) FROM kiln_schema").await;
    writeln!(text, "INSERT INTO kiln_schema (version) VALUES ({});", version[0]).unwrap();
    text
}

/// Without the name of the test's schema.
fn anywhere(text: &str, place: &Place) -> String {
    text.replace(&format!("{}.", place.schema), "")
}

#[tokio::test]
async fn golden_postgres_of_this_version_is_what_is_written() {
    let test = "golden_postgres_of_this_version_is_what_is_written";
    let Some(place) = Place::new(test) else { return };
    fill(&place.db().await).await;
    let raw = place.raw().await;
    let text = anywhere(&(schema(&raw).await + &rows(&raw).await), &place);
    // A version is written once: another schema is another version.
    if std::env::var_os("KILN_BLESS").is_some() && !golden(VERSION).exists() {
        std::fs::create_dir_all(golden(VERSION).parent().unwrap()).unwrap();
        std::fs::write(golden(VERSION), &text).unwrap();
    }
    let golden = std::fs::read_to_string(golden(VERSION)).unwrap();
    assert!(
        packed_apart(&text) == packed_apart(&golden),
        "another schema needs another version and a golden file of its own:\n{text}"
    );
}

/// Without what is packed, which another zstd may pack in another way.
fn packed_apart(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("INSERT INTO segment")).collect()
}

#[tokio::test]
async fn golden_postgres_of_every_version_connects_and_holds_what_it_held() {
    let test = "golden_postgres_of_every_version_connects_and_holds_what_it_held";
    let Some(new) = Place::new(test) else { return };
    drop(new.db().await);
    let fresh = anywhere(&schema(&new.raw().await).await, &new);
    for version in 1..=VERSION {
        let Some(place) = Place::new(test) else { return };
        let raw = place.raw().await;
        raw.batch_execute(&format!("CREATE SCHEMA {}", place.schema)).await.unwrap();
        let sql = std::fs::read_to_string(golden(version)).unwrap();
        // The index of a key comes with the key.
        let lines = sql.split_inclusive('\n').filter(|l| !l.starts_with("CREATE UNIQUE INDEX"));
        raw.batch_execute(&lines.collect::<String>()).await.unwrap();
        let db = place.db().await;
        expect(&db).await;
        assert_eq!(anywhere(&schema(&raw).await, &place), fresh, "from version {version}");
        // And it is good for more.
        common::append(&db, "more", 0).await.unwrap();
        db.queue().push(Job::new(common::build("more"), Owner::local())).await.unwrap();
    }
}
