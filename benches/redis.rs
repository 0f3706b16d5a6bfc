//! How fast journals, the queue and lists are kept in Redis, with everything acknowledged on disk,
//! against the same commands in a transaction without Kiln. The server is this program's own.

use futures::future::join_all;
use kiln::{
    BuildId, Event, NodeId, Owner, Seq, Timestamp,
    port::{BuildFilter, BuildSummary, Entry, Index, Job, Node, Page, Queue, Settlement, Store},
    state::Phase,
};
use kiln_redis::{RedisConfig, RedisDb, RedisQueue, RedisStore};
use redis::aio::MultiplexedConnection;
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How many drivers append at once where it is about many.
const DRIVERS: usize = 32;
/// How often each way of writing has its turn: what the disk does meanwhile hits all alike.
const ROUNDS: u64 = 9;
/// Appends of one driver in one round.
const APPENDS: u64 = 40;
/// Builds that wait in the queue while leases are measured, of how many owners.
const QUEUED: usize = 100_000;
const OWNERS: usize = 50;
/// Builds that are over while lists are measured.
const FINISHED: u64 = 100_000;
const TTL: Duration = Duration::from_secs(60);

/// A server of ours, gone with this.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(dir: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(dir)
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { child, url: format!("redis://127.0.0.1:{port}") })
    }

    /// A connection as Kiln has it.
    async fn raw(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).expect("a good URL");
        let began = Instant::now();
        loop {
            let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
            match client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(connection) => return connection,
                Err(e) => assert!(began.elapsed() < TTL, "the server does not start: {e}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn adopted() -> Entry {
    let driver = kiln::DriverId::random();
    let node = NodeId::new("n").expect("a legal name");
    Entry { at: Timestamp(7), event: Event::Adopted { driver, node, kept: vec![] } }
}

/// Appends one by one to a journal that ends at `after`.
async fn appends(store: &RedisStore, build: &BuildId, after: u64) {
    for i in after..after + APPENDS {
        store.append(build, Seq(i), &[adopted()]).await.expect("the journal is ours");
    }
}

/// The same keys by the same commands, one transaction each.
async fn raw(connection: &mut MultiplexedConnection, count: u64) {
    let text = r#"{"at":7,"event":{"event":"adopted","driver":"ef6a1d0c0ad5ba1dd3e2e0e6a1bd0a37","node":"n","kept":[]}}"#;
    for _ in 0..count {
        let mut all = redis::pipe();
        all.atomic().cmd("LLEN").arg("raw:journal").ignore();
        all.cmd("RPUSH").arg("raw:journal").arg(text).ignore();
        all.cmd("SADD").arg("raw:unfinished").arg("b").ignore();
        all.cmd("PUBLISH").arg("raw:news").arg("jb").ignore();
        all.query_async::<()>(connection).await.expect("the keys are ours");
    }
}

fn median(all: &mut [f64]) -> f64 {
    share(all, 0.5)
}

/// What so much of all is no larger than.
fn share(all: &mut [f64], part: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    all[((all.len() - 1) as f64 * part) as usize]
}

fn rate(count: u64, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// Milliseconds since.
fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// Journal appends per second: without Kiln, of one driver, and of many at once.
async fn journals(store: &RedisStore, bare: &mut MultiplexedConnection) -> [f64; 3] {
    let builds: Vec<BuildId> = (0..=DRIVERS).map(|_| BuildId::random()).collect();
    let mut rates = [const { Vec::new() }; 3];
    for turn in 0..ROUNDS * 3 {
        // Nobody is always the one after the same other.
        let (after, who) = (turn / 3 * APPENDS, ((turn + turn / 3) % 3) as usize);
        let began = Instant::now();
        let mut count = APPENDS;
        match who {
            0 => raw(bare, APPENDS).await,
            1 => appends(store, &builds[DRIVERS], after).await,
            _ => {
                let drivers = builds[..DRIVERS].iter().map(|build| {
                    let (store, build) = (store.clone(), build.clone());
                    tokio::spawn(async move { appends(&store, &build, after).await })
                });
                join_all(drivers).await.into_iter().for_each(|d| d.expect("no driver panics"));
                count *= DRIVERS as u64;
            }
        }
        rates[who].push(rate(count, began));
    }
    rates.map(|mut all| median(&mut all))
}

fn node(name: &str) -> Node {
    Node {
        id: NodeId::new(name).expect("a legal name"),
        labels: Default::default(),
        slots: 60_000,
        resources: Default::default(),
        drained: false,
        seen_at: Timestamp(0),
    }
}

/// What the builds in the queue ask for, and only one node has.
fn pool() -> std::collections::BTreeMap<String, String> {
    [("pool".to_owned(), "a".to_owned())].into()
}

/// Milliseconds of one lease with many builds in the queue, and of one append without Kiln.
async fn lease(queue: &RedisQueue, bare: &mut MultiplexedConnection) -> [f64; 2] {
    let job = |i: usize| {
        let owner = Owner::new(format!("o{}", i % OWNERS)).expect("a legal name");
        let mut job = Job { priority: (i % 3) as i32, ..Job::new(BuildId::random(), owner) };
        job.placement.labels = pool();
        job
    };
    for some in (0..QUEUED).collect::<Vec<_>>().chunks(1000) {
        let pushed = join_all(some.iter().map(|i| queue.push(job(*i)))).await;
        pushed.into_iter().for_each(|p| p.expect("the queue is ours"));
    }
    let node = Node { labels: pool(), ..node("n") };
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..301 {
        let began = Instant::now();
        raw(bare, 1).await;
        times[1].push(ms(began));
        let began = Instant::now();
        let lease = queue.lease(&node, TTL, Duration::ZERO).await.expect("the queue is ours");
        assert!(lease.is_some());
        times[0].push(ms(began));
    }
    times.map(|mut all| median(&mut all))
}

/// Milliseconds from a push to the lease of somebody who waits, beside all that are queued, in 99 of
/// 100 cases.
async fn start(queue: &RedisQueue, pusher: &RedisQueue) -> f64 {
    let mut times = Vec::new();
    for i in 0..400 {
        let (waits, name) = (queue.clone(), format!("w{i}"));
        let mut job = Job::new(BuildId::random(), Owner::local());
        job.placement.node = NodeId::new(&name).ok();
        let waiter = tokio::spawn(async move { waits.lease(&node(&name), TTL, TTL).await });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = Instant::now();
        pusher.push(job).await.expect("the queue is ours");
        let lease = waiter.await.expect("it does not panic").expect("the queue is ours");
        times.push(ms(began));
        let lease = lease.expect("a job was pushed");
        queue.settle(&lease, Settlement::Done).await.expect("it is held");
    }
    share(&mut times, 0.99)
}

/// Milliseconds of the newest page of many finished builds, with a label and without.
async fn list(db: &RedisDb) -> f64 {
    let index = db.index();
    let summary = |i: u64| BuildSummary {
        build: BuildId::random(),
        seq: Seq(9),
        owner: Owner::local(),
        labels: [("repo".to_owned(), format!("r{}", i % 100))].into(),
        phase: Phase::Finished,
        outcome: Some(kiln::Outcome::Succeeded),
        accepted_at: Timestamp(1_700_000_000_000 + i),
        finished_at: Some(Timestamp(1_700_000_001_000 + i)),
        steps: 4,
        steps_over: 4,
    };
    for some in (0..FINISHED).collect::<Vec<_>>().chunks(1000) {
        let put = some.iter().map(|i| {
            let (index, summary) = (index.clone(), summary(*i));
            async move { index.put(&summary).await }
        });
        join_all(put).await.into_iter().for_each(|p| p.expect("the index is ours"));
    }
    let page = Page { max: 50, after: None };
    let labels = [("repo".to_owned(), "r7".to_owned())].into();
    let filters = [BuildFilter::default(), BuildFilter { labels, ..BuildFilter::default() }];
    let mut times = Vec::new();
    for i in 0..200 {
        let began = Instant::now();
        let found = index.list(&filters[i % 2], &page).await.expect("the index is ours");
        assert_eq!(found.len(), 50);
        times.push(ms(began));
    }
    median(&mut times)
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(server) = Server::start(dir.path()) else {
        println!("SKIPPED: redis: there is no redis-server");
        return;
    };
    let mut bare = server.raw().await;
    let connect = async || {
        let config = RedisConfig::new(&server.url).expect("a good URL");
        RedisDb::connect(config.timeout(TTL)).await.expect("a server of ours")
    };
    let (db, other) = (connect().await, connect().await);
    let [without, one, many] = journals(&db.store().expect("it keeps everything"), &mut bare).await;
    println!("journal: {without:.0} appends per second without Kiln, {one:.0} with it;");
    println!("         {many:.0} of {DRIVERS} drivers at once");
    println!("promise redis_journal_ratio {:.2} >= 0.5 of-raw-redis", one / without);
    println!("promise redis_journal_group {:.1} >= 2 of-one-driver", many / one);
    let [lease, append] = lease(&db.queue(), &mut bare).await;
    println!("lease: {lease:.2} ms with {QUEUED} builds in the queue, an append {append:.2} ms");
    println!("promise redis_lease_ratio {:.1} <= 6 of-raw-append", lease / append);
    let start = start(&db.queue(), &other.queue()).await;
    println!("promise redis_start_p99 {start:.1} <= 25 ms");
    println!("promise redis_list {:.1} <= 5 ms", list(&db).await);
}
