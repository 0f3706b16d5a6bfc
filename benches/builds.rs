//! How many builds a second are accepted, driven and finished, and how soon after it was accepted a
//! build begins, with a step that does nothing: on SQLite, and on PostgreSQL and Redis where
//! `KILN_BENCH_POSTGRES` and `KILN_BENCH_REDIS` name a server.

use kiln::{
    BoxName, BoxSpec, BuildId, CancelToken, Command, Engine, ImageRef, NodeId, Op, Outcome, Owner,
    Phase, Plan, Resources, Seq, Step, StopReason, Submission, Timestamp, Worker,
    memory::{MemoryHost, MemoryRuntime, SystemClock},
    port::{BuildFilter, BuildSummary, Index, Job, LogReader, LogSink, Node, Page, Queue, Store},
};
use kiln_files::FileLogs;
use kiln_postgres::{PgConfig, PgDb};
use kiln_redis::{RedisConfig, RedisDb, Require};
use kiln_sqlite::SqliteDb;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Builds of one measurement.
const BUILDS: usize = 4_000;
/// How many are submitted side by side, and driven.
const CLIENTS: usize = 128;
const WORKERS: u16 = 128;
/// Finished builds that the newest page is read from.
const FINISHED: u64 = 1_000_000;

/// What remembers.
struct Memory {
    store: Arc<dyn Store>,
    index: Arc<dyn Index>,
    queue: Arc<dyn Queue>,
    logs: (Arc<dyn LogSink>, Arc<dyn LogReader>),
}

fn plan() -> Plan {
    let mut plan = Plan::builder();
    let in_box = BoxName::new("shell").expect("a legal name");
    let image = ImageRef::parse("busybox").expect("a legal name");
    plan.add_box(in_box.clone(), BoxSpec::new(image));
    plan.step(Step::new("run", Op::Exec { in_box, command: Command::new(["true"]) }));
    plan.finish().expect("a legal plan")
}

fn node() -> Node {
    Node {
        id: NodeId::new("bench").expect("a legal name"),
        labels: [].into(),
        slots: WORKERS,
        resources: Resources::default(),
        drained: false,
        seen_at: Timestamp(0),
    }
}

/// Builds a second from the first submission to the last end.
async fn throughput(memory: &Memory) -> f64 {
    let runtime = MemoryRuntime::new(&MemoryHost::default(), Arc::new(SystemClock::default()));
    let engine = Engine::builder()
        .store(memory.store.clone())
        .index(memory.index.clone())
        .log_sink(memory.logs.0.clone())
        .log_reader(memory.logs.1.clone())
        .runtime(Arc::new(runtime))
        .build();
    let stop = CancelToken::new();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let worker = Worker::new(engine.clone(), memory.queue.clone(), node());
            let stop = stop.clone();
            tokio::spawn(async move { worker.run(stop).await })
        })
        .collect();
    let plan = plan();
    let began = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let (engine, queue, plan) = (engine.clone(), memory.queue.clone(), plan.clone());
        let owner = Owner::new(format!("o{}", client % 10)).expect("a legal name");
        tokio::spawn(async move {
            for _ in 0..BUILDS / CLIENTS {
                let submission = Submission::new(plan.clone()).owner(owner.clone());
                let build = engine.accept(submission).await.expect("a new build");
                queue.push(Job::new(build, owner.clone())).await.expect("the queue is ours");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("no client panics");
    }
    while !engine.unfinished().await.expect("the store is ours").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = engine.list(&BuildFilter::default(), &Page { max: 9, after: None }).await;
    for build in ended.expect("the index is ours") {
        assert!(build.outcome.is_none_or(|o| o == Outcome::Succeeded), "a build that did nothing");
    }
    let rate = (BUILDS / CLIENTS * CLIENTS) as f64 / began.elapsed().as_secs_f64();
    stop.cancel(StopReason::Cancel);
    for worker in workers {
        worker.await.expect("no worker panics").expect("the queue is ours");
    }
    rate
}

/// Milliseconds that the newest page takes with many finished builds in the file, and until a file
/// with them is open and knows what is unfinished.
async fn page(dir: &Path) -> [f64; 2] {
    let path = dir.join("many.db");
    let db = SqliteDb::open(&path).expect("a fresh directory");
    let index = db.index();
    let summary = |n: u64| BuildSummary {
        build: BuildId::new(format!("b{n}")).expect("a legal name"),
        seq: Seq(4),
        owner: Owner::new(format!("o{}", n % 10)).expect("a legal name"),
        labels: [("branch".to_owned(), format!("b{}", n % 100))].into(),
        phase: Phase::Finished,
        outcome: Some(Outcome::Succeeded),
        accepted_at: Timestamp(n),
        finished_at: Some(Timestamp(n + 9)),
        steps: 1,
        steps_over: 1,
    };
    for from in (0..FINISHED).step_by(2_000) {
        let puts = (from..from + 2_000).map(|n| {
            let index = index.clone();
            async move { index.put(&summary(n)).await }
        });
        for put in futures::future::join_all(puts).await {
            put.expect("the file is ours");
        }
    }
    let ask = Page { max: 51, after: None };
    let mut times = Vec::new();
    for _ in 0..51 {
        let began = Instant::now();
        let page = index.list(&BuildFilter::default(), &ask).await.expect("the file is ours");
        assert_eq!(page.len(), 51);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    drop((index, db));
    let began = Instant::now();
    let db = SqliteDb::open(&path).expect("the file is ours");
    assert!(db.store().unfinished().await.expect("the file is ours").is_empty());
    [times[times.len() / 2], began.elapsed().as_secs_f64() * 1e3]
}

fn sqlite(dir: &Path) -> Memory {
    let db = SqliteDb::open(&dir.join("kiln.db")).expect("a fresh directory");
    let logs = Arc::new(FileLogs::open(dir.join("logs")).expect("a fresh directory"));
    Memory {
        store: Arc::new(db.store()),
        index: Arc::new(db.index()),
        queue: Arc::new(db.queue()),
        logs: (logs.clone(), logs),
    }
}

async fn postgres(url: &str) -> Memory {
    let schema = format!("bench_{}", &BuildId::random().as_str()[..12]);
    let config = PgConfig::new(url).and_then(|c| c.schema(&schema)).expect("a legal address");
    let db = PgDb::connect(&config).await.expect("a server");
    let logs = Arc::new(db.logs());
    Memory {
        store: Arc::new(db.store()),
        index: Arc::new(db.index()),
        queue: Arc::new(db.queue()),
        logs: (logs.clone(), logs),
    }
}

async fn redis(url: &str) -> Memory {
    let prefix = format!("bench{}:", &BuildId::random().as_str()[..12]);
    let config = RedisConfig::new(url).and_then(|c| c.prefix(&prefix)).expect("a legal address");
    let db = RedisDb::connect(config.require(Require::Nothing)).await.expect("a server");
    let logs = Arc::new(db.logs());
    Memory {
        store: Arc::new(db.store().expect("nothing is required")),
        index: Arc::new(db.index()),
        queue: Arc::new(db.queue()),
        logs: (logs.clone(), logs),
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let dir = tempfile::tempdir().expect("a directory can be had");
    runtime.block_on(async {
        let rate = throughput(&sqlite(dir.path())).await;
        println!("builds accepted and finished, SQLite and files: {rate:.0} a second");
        match std::env::var("KILN_BENCH_POSTGRES") {
            Ok(url) => {
                let rate = throughput(&postgres(&url).await).await;
                println!("builds accepted and finished, PostgreSQL: {rate:.0} a second");
            }
            Err(_) => println!("PostgreSQL: KILN_BENCH_POSTGRES names no server"),
        }
        match std::env::var("KILN_BENCH_REDIS") {
            Ok(url) => {
                let rate = throughput(&redis(&url).await).await;
                println!("builds accepted and finished, Redis: {rate:.0} a second");
            }
            Err(_) => println!("Redis: KILN_BENCH_REDIS names no server"),
        }
        let [page, open] = page(dir.path()).await;
        println!("the newest page of {FINISHED} finished builds in SQLite: {page:.2} ms");
        println!("to open that file and know what is unfinished: {open:.1} ms");
    });
}
