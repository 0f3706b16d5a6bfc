//! How fast journals and the queue are kept in PostgreSQL, against the same statements through the
//! same client library without Kiln, in the same server.
//!
//! Runs in the server that `KILN_BENCH_POSTGRES` names, or else in that of the tests, which waits
//! for no disk. Makes schemas of its own, and removes them.

use futures::future::join_all;
use kiln::{
    BuildId, Event, NodeId, Owner, Seq, Timestamp,
    port::{Entry, Job, Node, Queue, Settlement, Store},
};
use kiln_postgres::{PgConfig, PgDb};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// How many drivers append at once where it is about many.
const DRIVERS: usize = 32;
/// How often each way has its turn: what the machine does meanwhile hits all alike.
const ROUNDS: u64 = 9;
/// Appends of one driver in one round.
const APPENDS: u64 = 40;
/// Builds that wait in the queue while leases are measured, of so many owners.
const QUEUED: usize = 100_000;
const OWNERS: usize = 10;
/// How many nodes lease at once, and how many leases each has in one round.
const NODES: usize = 32;
const LEASES: usize = 25;
const TTL: Duration = Duration::from_secs(600);

/// The server, or why there is none.
fn url() -> Result<String, &'static str> {
    if let Ok(url) = std::env::var("KILN_BENCH_POSTGRES") {
        return Ok(url);
    }
    let path = std::env::var_os("KILN_TEST_SERVICES").ok_or("no PostgreSQL is named")?;
    let text = std::fs::read(path).map_err(|_| "there is no list of services")?;
    let all: serde_json::Value = serde_json::from_slice(&text).map_err(|_| "it is no JSON")?;
    let url = all["services"]["postgres"]["url"].as_str();
    url.map(str::to_owned).ok_or("the service postgres does not run")
}

fn adopted() -> Entry {
    let driver = kiln::DriverId::random();
    let node = NodeId::new("n").expect("a legal name");
    Entry { at: Timestamp(7), event: Event::Adopted { driver, node, kept: vec![] } }
}

async fn appends(db: &PgDb, build: &BuildId, after: u64) {
    let store = db.store();
    for i in after..after + APPENDS {
        store.append(build, Seq(i), &[adopted()]).await.expect("the journal is ours");
    }
}

/// A connection without Kiln, and the tables of Kiln.
async fn bare(url: &str, schema: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.expect("our schema");
    client
}

/// The same statement in the same tables, one by one.
async fn raw_appends(client: &Client, build: &str, after: u64) {
    let sql = "SELECT done, place FROM append($1, $2, $3, $4, $5)";
    let statement = client.prepare(sql).await.expect("our schema");
    let text =
        r#"{"event":"adopted","driver":"ef6a1d0c0ad5ba1dd3e2e0e6a1bd0a37","node":"n","kept":[]}"#;
    for i in after..after + APPENDS {
        let (after, times, events) = (i as i64, vec![7_i64], vec![text.to_owned()]);
        let row = client
            .query_one(&statement, &[&build, &after, &false, &times, &events])
            .await
            .expect("the journal is ours");
        assert!(row.get::<_, bool>(0));
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn rate(count: u64, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// Appends per second: of one driver and of many without Kiln (each with a connection of its own),
/// and of one and of many with it.
async fn journals(url: &str, schema: &str, db: &PgDb) -> [f64; 4] {
    let mut clients = Vec::new();
    for _ in 0..DRIVERS {
        clients.push(bare(url, schema).await);
    }
    let builds: Vec<BuildId> = (0..DRIVERS * 2 + 2).map(|_| BuildId::random()).collect();
    let (raw, ours) = builds.split_at(DRIVERS + 1);
    let mut rates = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let after = round * APPENDS;
        let began = Instant::now();
        raw_appends(&clients[0], raw[0].as_str(), after).await;
        rates[0].push(rate(APPENDS, began));
        let began = Instant::now();
        let all = clients.iter().zip(&raw[1..]);
        join_all(all.map(|(client, build)| raw_appends(client, build.as_str(), after))).await;
        rates[1].push(rate(APPENDS * DRIVERS as u64, began));
        let began = Instant::now();
        appends(db, &ours[0], after).await;
        rates[2].push(rate(APPENDS, began));
        let began = Instant::now();
        join_all(ours[1..].iter().map(|build| appends(db, build, after))).await;
        rates[3].push(rate(APPENDS * DRIVERS as u64, began));
    }
    rates.map(median)
}

fn node(name: &str) -> Node {
    Node {
        id: NodeId::new(name).expect("a legal name"),
        labels: Default::default(),
        slots: 200,
        resources: Default::default(),
        drained: false,
        seen_at: Timestamp(0),
    }
}

async fn lease_and_settle(db: &PgDb, name: &str) {
    let (queue, node) = (db.queue(), node(name));
    for _ in 0..LEASES {
        let lease = queue.lease(&node, TTL, Duration::ZERO).await.expect("the queue is ours");
        let lease = lease.expect("there are enough");
        queue.settle(&lease, Settlement::Done).await.expect("the lease is ours");
    }
}

/// Leases that are settled, per second: of one node and of many at once; and milliseconds of one
/// lease, in the middle and at most of a hundred.
async fn leases(db: &PgDb) -> [f64; 4] {
    let queue = db.queue();
    let owners: Vec<_> = (0..OWNERS).map(|i| Owner::new(format!("o{i}")).expect("legal")).collect();
    let push = |i: &usize| queue.push(Job::new(BuildId::random(), owners[i % OWNERS].clone()));
    for some in (0..QUEUED).collect::<Vec<_>>().chunks(1000) {
        let pushed = join_all(some.iter().map(push)).await;
        pushed.into_iter().for_each(|p| p.expect("the queue is ours"));
    }
    let mut rates = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        lease_and_settle(db, "one").await;
        rates[0].push(rate(LEASES as u64, began));
        let began = Instant::now();
        let names: Vec<_> = (0..NODES).map(|i| format!("n{i}")).collect();
        join_all(names.iter().map(|name| lease_and_settle(db, name))).await;
        rates[1].push(rate((LEASES * NODES) as u64, began));
    }
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        let lease = queue.lease(&node("slow"), TTL, Duration::ZERO).await.expect("our queue");
        times.push(began.elapsed().as_secs_f64() * 1e3);
        queue.settle(&lease.expect("enough"), Settlement::Done).await.expect("our lease");
    }
    times.sort_by(f64::total_cmp);
    let [one, many] = rates.map(median);
    [one, many, times[50], times[98]]
}

#[tokio::main]
async fn main() {
    let url = match url() {
        Ok(url) => url,
        Err(why) => return println!("SKIPPED: postgres: {why}"),
    };
    let schema = format!("bench_{}", &BuildId::random().as_str()[..12]);
    let config = PgConfig::new(&url).and_then(|c| c.schema(&schema)).expect("an address");
    let db = PgDb::connect(&config).await.expect("a server that runs");
    let [raw_one, raw_many, one, many] = journals(&url, &schema, &db).await;
    println!(
        "journal: {raw_one:.0} appends per second of one driver without Kiln, {one:.0} with it;"
    );
    println!(
        "         {raw_many:.0} of {DRIVERS} without, each over its connection, {many:.0} with it"
    );
    println!("promise pg_journal_ratio {:.2} >= 0.5 of-raw-postgres", one / raw_one);
    println!(
        "promise pg_journal_group {:.2} >= 2 of-raw-postgres-with-as-many-connections",
        many / raw_many
    );
    let [one, many, middle, most] = leases(&db).await;
    println!("queue: {one:.0} leases per second of one node, {many:.0} of {NODES}, each settled,");
    println!(
        "       with {QUEUED} builds in it; one lease {middle:.1} ms, {most:.1} ms at most of 99 %"
    );
    println!("promise pg_leases {many:.0} >= 1000 per-second");
    println!("promise pg_lease_p99 {most:.1} <= 10 ms");
    drop(db);
    let client = bare(&url, "public").await;
    let gone = format!("DROP SCHEMA {schema} CASCADE");
    client.batch_execute(&gone).await.expect("the schema is ours");
}
