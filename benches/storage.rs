//! How fast journals and the queue are kept: SQLite with durability on, against the same
//! statements without Kiln.

use kiln::{
    BuildId, Event, NodeId, Seq, Timestamp,
    port::{Entry, Job, Node, Queue, Store},
};
use kiln_sqlite::{SqliteDb, SqliteStore};
use rusqlite::{Connection, ToSql};
use std::{
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

/// How many drivers append at once where it is about many.
const DRIVERS: usize = 32;
/// How often each way of writing has its turn: what the disk does meanwhile hits all alike.
const ROUNDS: u64 = 9;
/// Appends of one driver in one round.
const APPENDS: u64 = 40;
/// Builds that wait in the queue while leases are measured.
const QUEUED: usize = 10_000;

fn adopted() -> Entry {
    let driver = kiln::DriverId::random();
    let node = NodeId::new("n").expect("a legal name");
    Entry { at: Timestamp(7), event: Event::Adopted { driver, node, kept: vec![] } }
}

/// Appends one by one to a journal that ends at `after`.
async fn appends(store: &SqliteStore, build: &BuildId, after: u64) {
    for i in after..after + APPENDS {
        store.append(build, Seq(i), &[adopted()]).await.expect("the journal is ours");
    }
}

/// The same rows by the same statements in the same tables, committed one by one without Kiln.
fn raw(db: &Connection, places: Range<u64>) {
    let say = |sql: &str, args: &[&dyn ToSql]| {
        db.prepare_cached(sql).and_then(|mut s| s.execute(args)).expect("the file is ours")
    };
    for i in places {
        let text = r#"{"event":"adopted","driver":"ef6a1d0c0ad5ba1dd3e2e0e6a1bd0a37","node":"n","kept":[]}"#;
        say("BEGIN IMMEDIATE", &[]);
        let end: u64 = db
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM event WHERE build = ?1")
            .and_then(|mut s| s.query_row(["b"], |r| r.get(0)))
            .expect("the file is ours");
        assert_eq!(end, i);
        let insert = "INSERT INTO event (build, seq, at, event) VALUES (?1, ?2, ?3, ?4)";
        say(insert, &[&"b", &(i + 1), &7, &text]);
        say("INSERT OR IGNORE INTO unfinished (build) VALUES (?1)", &[&"b"]);
        say("COMMIT", &[]);
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn rate(count: u64, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// A file of the same tables, written with the same durability, without Kiln.
fn bare(path: &Path) -> Connection {
    drop(SqliteDb::open(path).expect("a fresh directory"));
    let db = Connection::open(path).expect("the file is ours");
    db.pragma_update(None, "journal_mode", "wal").expect("the file is ours");
    db.pragma_update(None, "synchronous", "full").expect("the file is ours");
    db
}

/// Journal appends per second: without Kiln, of one driver, and of many at once.
async fn journals(dir: &Path) -> [f64; 3] {
    let bare = bare(&dir.join("raw.db"));
    let open = |name| SqliteDb::open(&dir.join(name)).expect("a fresh directory").store();
    let (one, many) = (open("one.db"), open("many.db"));
    let builds: Vec<BuildId> = (0..DRIVERS).map(|_| BuildId::random()).collect();
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        let after = round * APPENDS;
        let began = Instant::now();
        raw(&bare, after..after + APPENDS);
        rates[0].push(rate(APPENDS, began));
        let began = Instant::now();
        appends(&one, &builds[0], after).await;
        rates[1].push(rate(APPENDS, began));
        let began = Instant::now();
        let drivers = builds.iter().map(|build| {
            let (many, build) = (many.clone(), build.clone());
            tokio::spawn(async move { appends(&many, &build, after).await })
        });
        for driver in drivers.collect::<Vec<_>>() {
            driver.await.expect("no driver panics");
        }
        rates[2].push(rate(APPENDS * DRIVERS as u64, began));
    }
    rates.map(median)
}

/// Milliseconds of one lease with many builds of one owner in the queue, and of one append without
/// Kiln; both durable.
async fn lease(dir: &Path) -> [f64; 2] {
    let queue = SqliteDb::open(&dir.join("queue.db")).expect("a fresh directory").queue();
    let push = |_| queue.push(Job::new(BuildId::random(), kiln::Owner::local()));
    for some in (0..QUEUED).collect::<Vec<_>>().chunks(250) {
        let pushed = futures::future::join_all(some.iter().map(push)).await;
        pushed.into_iter().for_each(|p| p.expect("the queue is ours"));
    }
    let node = Node {
        id: NodeId::new("n").expect("a legal name"),
        labels: Default::default(),
        slots: 200,
        resources: Default::default(),
        drained: false,
        seen_at: Timestamp(0),
    };
    let bare = bare(&dir.join("beside.db"));
    let mut times = [const { Vec::new() }; 2];
    for i in 0..151 {
        let began = Instant::now();
        raw(&bare, i..i + 1);
        times[1].push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        let ttl = Duration::from_secs(60);
        let lease = queue.lease(&node, ttl, Duration::ZERO).await.expect("the queue is ours");
        assert!(lease.is_some());
        times[0].push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.map(median)
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [bare, one, many] = journals(dir.path()).await;
    println!("journal: {bare:.0} appends per second without Kiln, {one:.0} with it;");
    println!("         {many:.0} of {DRIVERS} drivers at once");
    println!("promise journal_ratio {:.2} >= 0.5 of-raw-sqlite", one / bare);
    println!("promise journal_group {:.1} >= 4 of-one-driver", many / one);
    let [lease, append] = lease(dir.path()).await;
    println!("lease: {lease:.1} ms with {QUEUED} builds in the queue, an append {append:.1} ms");
    println!("promise lease_ratio {:.1} <= 3 of-raw-append", lease / append);
}
