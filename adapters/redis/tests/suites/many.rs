//! Long queues, many owners, many followers: what they cost the server, counted in its commands.

use crate::{
    common::{LONG, build, job, node, output},
    server::{DURABLE, Server},
};
use futures::{StreamExt, TryStreamExt, future::join_all};
use kiln::{
    BuildId, Placement,
    port::{Job, LogBody, LogReader, LogReaderExt, LogSink, Offset, Queue, Settlement},
};
use kiln_conformance::run;
use kiln_redis::{RedisDb, RedisLogs, RedisQueue};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How many commands a server has run, within scripts or not.
fn commands(server: &Server, which: &str) -> u64 {
    let mut info = redis::cmd("INFO");
    let text: String = info.arg("commandstats").query(&mut server.raw()).unwrap();
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let counts = name.starts_with(which) && !name.starts_with("config");
        rest.split(',').next()?.parse::<u64>().ok().filter(|_| counts)
    };
    text.lines().filter_map(calls).sum()
}

async fn push_all(queue: &RedisQueue, jobs: impl Iterator<Item = Job>) {
    let pushed = futures::stream::iter(jobs).map(|job| queue.push(job)).buffer_unordered(256);
    pushed.try_collect::<Vec<_>>().await.unwrap();
}

/// The commands of the costliest of ten leases.
async fn cost(server: &Server, queue: &RedisQueue) -> u64 {
    let n = node("n", 1000);
    let mut most = 0;
    for _ in 0..10 {
        let before = commands(server, "");
        let lease = queue.lease(&n, LONG, Duration::ZERO).await.unwrap();
        assert!(lease.is_some());
        most = most.max(commands(server, "") - before);
    }
    most
}

#[test]
fn a_lease_costs_the_same_however_long_the_queue_is() {
    let Some(server) = Server::start(&["--appendonly", "no"]) else { return };
    run("a_lease_costs_the_same_however_long_the_queue_is", async {
        let db = server.connect().await;
        let queue = db.queue();
        let arm = || Placement {
            labels: BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]),
            ..Placement::default()
        };
        // Some that nobody here can run, and some of many priorities.
        let jobs = |from: usize, to: usize| {
            (from..to).map(move |i| {
                let placement = if i % 3 == 0 { arm() } else { Placement::default() };
                let job = job(&format!("b{i}"), &format!("o{}", i % 4));
                Job { priority: (i % 7) as i32, placement, ..job }
            })
        };
        push_all(&queue, jobs(0, 500)).await;
        let short = cost(&server, &queue).await;
        push_all(&queue, jobs(500, 30_000)).await;
        let long = cost(&server, &queue).await;
        assert!(long <= short + 10, "{long} commands, {short} of them with a short queue");
        assert!(long < 100, "{long} commands");
    });
}

#[test]
fn a_lease_looks_at_few_of_thousands_of_owners() {
    let Some(server) = Server::start(&["--appendonly", "no"]) else { return };
    run("a_lease_looks_at_few_of_thousands_of_owners", async {
        let queue = server.connect().await.queue();
        let jobs = (0..9000).map(|i| job(&format!("b{i}"), &format!("o{}", i % 3000)));
        push_all(&queue, jobs).await;
        let most = cost(&server, &queue).await;
        assert!(most < 200, "{most} commands");
    });
}

/// One owner with a lease, and a limit of its own for each of its jobs, as for branches.
#[test]
fn a_lease_looks_at_few_of_thousands_of_shapes() {
    let Some(server) = Server::start(&["--appendonly", "no"]) else { return };
    run("a_lease_looks_at_few_of_thousands_of_shapes", async {
        let queue = server.connect().await.queue();
        let jobs = (0..3000).map(|i| {
            let limits = BTreeMap::from([(format!("branch={i}"), 1)]);
            Job { limits, ..job(&format!("b{i}"), "o") }
        });
        push_all(&queue, jobs).await;
        let most = cost(&server, &queue).await;
        assert!(most < 200, "{most} commands");
    });
}

#[test]
fn a_queue_that_is_empty_again_keeps_nothing() {
    let Some(server) = Server::start(&["--appendonly", "no"]) else { return };
    run("a_queue_that_is_empty_again_keeps_nothing", async {
        let queue = server.connect().await.queue();
        let n = node("n", 99);
        for i in 0..30_u32 {
            let limits = BTreeMap::from([(format!("g{}", i % 3), 9)]);
            let job = job(&format!("b{i}"), &format!("o{}", i % 4));
            let later = kiln::Timestamp(u64::from(i % 5) << 50);
            queue.push(Job { limits, not_before: later, ..job }).await.unwrap();
        }
        for i in 0..8_u32 {
            let lease = queue.lease(&n, LONG, Duration::ZERO).await.unwrap().expect("a job");
            let again = Settlement::Again(kiln::Timestamp(0));
            queue.settle(&lease, if i % 2 == 0 { Settlement::Done } else { again }).await.unwrap();
        }
        for i in 0..30 {
            queue.remove(&build(&format!("b{i}"))).await.unwrap();
        }
        let mut keys: Vec<String> =
            redis::cmd("KEYS").arg("kiln:*").query(&mut server.raw()).unwrap();
        keys.sort();
        assert_eq!(keys, ["kiln:queue:number", "kiln:queue:shape:last", "kiln:version"]);
    });
}

#[test]
fn followers_of_one_log_share_their_reads() {
    const FOLLOWERS: usize = 60;
    const RECORDS: u64 = 200;
    let Some(server) = Server::start(DURABLE) else { return };
    run("followers_of_one_log_share_their_reads", async {
        let db = server.connect().await;
        let (logs, b) = (db.logs(), build("b"));
        let followers: Vec<_> = (0..FOLLOWERS)
            .map(|i| {
                // Some begin within a record.
                let (logs, b) = (db.logs(), b.clone());
                tokio::spawn(async move {
                    let from = Offset(if i % 5 == 0 { i as u64 } else { 0 });
                    grown(&logs, &b, from).await;
                    let read: Vec<_> = logs.follow(&b, from).try_collect().await.unwrap();
                    (from, read)
                })
            })
            .collect();
        let mut at = Offset(0);
        for _ in 0..RECORDS {
            at = logs.append(&b, at, &[output(at.0, 10)]).await.unwrap();
        }
        logs.close(&b).await.unwrap();
        let mut whole: Vec<u8> = Vec::new();
        for record in (0..RECORDS).map(|i| output(i * 10, 10)) {
            let LogBody::Bytes { data, .. } = record.body else { unreachable!() };
            whole.extend(&data);
        }
        for (from, read) in join_all(followers).await.into_iter().map(Result::unwrap) {
            let mut bytes: Vec<u8> = Vec::new();
            for record in read {
                assert_eq!(record.at.0, from.0 + bytes.len() as u64);
                let LogBody::Bytes { data, .. } = record.body else { panic!("{record:?}") };
                bytes.extend(&data);
            }
            assert!(bytes == whole[from.0 as usize..], "from {from:?}");
        }
        let reads = commands(&server, "evalsha") - RECORDS;
        let alone = FOLLOWERS as u64 * RECORDS;
        assert!(reads * 10 < alone, "{reads} reads, where each for itself would have had {alone}");
    });
}

/// Waits until a log is so long.
async fn grown(logs: &RedisLogs, build: &BuildId, to: Offset) {
    let mut at = Offset(0);
    while at < to {
        at = logs.read(build, at, 1, LONG).await.unwrap().next;
    }
}

/// Handles of several processes; none misses what another does.
#[test]
fn jobs_go_to_whoever_waits_wherever_they_were_pushed() {
    let Some(server) = Server::start(DURABLE) else { return };
    run("jobs_go_to_whoever_waits_wherever_they_were_pushed", async {
        let connect = || RedisDb::connect(server.config());
        let handles = join_all((0..4).map(|_| connect())).await;
        let all = Arc::new(AtomicUsize::new(0));
        let workers = handles.into_iter().enumerate().map(|(i, db)| {
            let (queue, all) = (db.unwrap().queue(), all.clone());
            tokio::spawn(async move {
                let (n, mut got) = (node(&format!("n{i}"), 3), Vec::new());
                // However long it takes until the next one is pushed.
                while all.load(Ordering::Relaxed) < 200 {
                    let look = queue.lease(&n, LONG, Duration::from_secs(1)).await.unwrap();
                    if let Some(lease) = look {
                        queue.settle(&lease, Settlement::Done).await.unwrap();
                        got.push(lease.job.build.to_string());
                        all.fetch_add(1, Ordering::Relaxed);
                    }
                }
                got
            })
        });
        let workers: Vec<_> = workers.collect();
        let pusher = connect().await.unwrap().queue();
        for i in 0..200 {
            pusher.push(job(&format!("b{i:03}"), "o")).await.unwrap();
        }
        let got = join_all(workers).await.into_iter().flat_map(Result::unwrap);
        let mut all: Vec<_> = got.collect();
        all.sort();
        let pushed: Vec<_> = (0..200).map(|i| format!("b{i:03}")).collect();
        assert_eq!(all, pushed);
    });
}
