//! Connections that break, servers that are killed, paused, full, or not what they should be.

use crate::{
    common::{LONG, append, build, job, loaded, node, output},
    server::{DURABLE, PASSWORD, Server},
};
use kiln::{
    ErrorKind, Result, Seq, Status, Timestamp,
    port::{LogReader, LogSink, Offset, Queue, Settlement, Store},
};
use kiln_conformance::run;
use kiln_redis::{RedisConfig, RedisDb, RedisStore};
use std::{
    fmt::Debug,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Starts a server, or ends the test.
macro_rules! server {
    ($settings:expr) => {
        match Server::start($settings) {
            Some(server) => server,
            None => return,
        }
    };
}

fn kind<T: Debug>(result: Result<T>) -> ErrorKind {
    let error = result.expect_err("this cannot work");
    assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
    error.kind()
}

/// Asks again while the server cannot be reached, as a layer around the port would.
async fn patiently<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        match call().await {
            Err(e) if e.retry_status() == Status::Temporary && start.elapsed() < LONG => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result.unwrap(),
        }
    }
}

#[test]
fn a_killed_connection_is_made_again() {
    let server = server!(DURABLE);
    run("a_killed_connection_is_made_again", async {
        let (db, other) = (server.connect().await, server.connect().await);
        let (store, theirs) = (db.store().unwrap(), other.store().unwrap());
        append(&store, "b", 0).await.unwrap();
        for round in 0..5 {
            let (b, after) = (build("b"), round + 1);
            let wait = tokio::spawn({
                let store = store.clone();
                async move { patiently(|| store.wait(&b, Seq(after), LONG)).await }
            });
            let mut raw = server.raw();
            // Waiting or not yet: both have to see what comes.
            for of in ["normal", "pubsub"] {
                let mut kill = redis::cmd("CLIENT");
                kill.arg("KILL").arg("TYPE").arg(of).arg("SKIPME").arg("yes");
                kill.query::<u64>(&mut raw).unwrap();
            }
            patiently(|| append(&theirs, "b", after)).await;
            let woken = tokio::time::timeout(LONG, wait).await;
            assert!(woken.expect("an append was missed").unwrap());
        }
        assert_eq!(loaded(&store, "b").await, 6);
    });
}

#[test]
fn a_killed_server_loses_nothing_it_acknowledged() {
    let mut server = server!(DURABLE);
    run("a_killed_server_loses_nothing_it_acknowledged", async {
        let db = server.connect().await;
        let store = db.store().unwrap();
        let mut acknowledged = [0_u64; 4];
        for _ in 0..4 {
            let written = Arc::new(AtomicU64::new(0));
            let writers: Vec<_> = acknowledged
                .iter()
                .enumerate()
                .map(|(i, after)| {
                    let (store, mut after) = (store.clone(), *after);
                    let written = written.clone();
                    tokio::spawn(async move {
                        loop {
                            match append(&store, &format!("b{i}"), after).await {
                                Ok(end) => {
                                    after = end.0;
                                    written.fetch_add(1, Ordering::Relaxed);
                                }
                                // What was on its way when the server died may be there.
                                Err(e) if e.kind() == ErrorKind::Conflict => after += 1,
                                Err(e) => break (after, e),
                            }
                        }
                    })
                })
                .collect();
            while written.load(Ordering::Relaxed) < 30 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            server.kill();
            for (i, writer) in writers.into_iter().enumerate() {
                let (after, e) = writer.await.unwrap();
                assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
                acknowledged[i] = after;
            }
            server.restart();
            for (i, after) in acknowledged.iter_mut().enumerate() {
                let b = build(&format!("b{i}"));
                // The same handle, whose scripts the server has forgotten.
                let found = patiently(|| store.load(&b, Seq::START)).await;
                let found = found.len() as u64;
                assert!((*after..=*after + 1).contains(&found), "{found}, told {after}");
                *after = loaded(&store, &format!("b{i}")).await;
            }
        }
        assert!(acknowledged.iter().sum::<u64>() > 100, "{acknowledged:?}");
    });
}

#[test]
fn leases_outlive_a_killed_server() {
    let mut server = server!(DURABLE);
    run("leases_outlive_a_killed_server", async {
        let db = server.connect().await;
        let queue = db.queue();
        for name in ["x", "y"] {
            queue.push(job(name, "o")).await.unwrap();
        }
        let lease = queue.lease(&node("n", 9), LONG, Duration::ZERO).await.unwrap().unwrap();
        server.kill();
        assert_eq!(kind(queue.renew(&lease, LONG).await), ErrorKind::Unavailable);
        server.restart();
        let renewed = patiently(|| queue.renew(&lease, LONG)).await;
        assert_eq!(renewed.token, lease.token);
        let n = node("m", 9);
        let next = queue.lease(&n, LONG, Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(next.job.build, build("y"));
        assert!(next.token > lease.token);
        // Who waits is told by a server that was not there for a while.
        let settled = async {
            queue.settle(&renewed, Settlement::Again(Timestamp(0))).await.unwrap();
        };
        let (again, ()) = tokio::join!(queue.lease(&n, LONG, LONG), settled);
        assert_eq!(again.unwrap().unwrap().job.build, build("x"));
    });
}

/// A server that lost everything gives no token a second time.
#[test]
fn a_server_that_lost_its_memory_gives_no_token_again() {
    let mut server = server!(&["--appendonly", "no"]);
    run("a_server_that_lost_its_memory_gives_no_token_again", async {
        let queue = server.connect().await.queue();
        let n = node("n", 9);
        queue.push(job("x", "o")).await.unwrap();
        let old = queue.lease(&n, LONG, Duration::ZERO).await.unwrap().unwrap();
        server.kill();
        server.restart();
        assert_eq!(kind(patiently_kind(|| queue.renew(&old, LONG)).await), ErrorKind::Conflict);
        queue.push(job("x", "o")).await.unwrap();
        let new = queue.lease(&n, LONG, Duration::ZERO).await.unwrap().unwrap();
        assert!(new.token > old.token, "{} after {}", new.token, old.token);
        assert_eq!(kind(queue.settle(&old, Settlement::Done).await), ErrorKind::Conflict);
    });
}

/// As `patiently`, for what fails otherwise.
async fn patiently_kind<T, F: Future<Output = Result<T>>>(
    mut call: impl FnMut() -> F,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match call().await {
            Err(e) if e.kind() == ErrorKind::Unavailable && start.elapsed() < LONG => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}

/// Appends once, whatever becomes of the answer.
async fn grown(store: &RedisStore) {
    let b = build("b");
    let load = || async {
        match store.load(&b, Seq::START).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
            loaded => loaded.map(|events| events.len() as u64),
        }
    };
    let before = patiently(load).await;
    while patiently(load).await == before {
        // Late, or there already: the next look says which.
        let _ = append(store, "b", before).await;
    }
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = server!(DURABLE);
    run("a_server_that_does_not_answer_is_not_waited_for", async {
        let config = server.config().timeout(Duration::from_millis(1500));
        // A machine that stands still is late too.
        let db = patiently(|| RedisDb::connect(config.clone())).await;
        let store = db.store().unwrap();
        grown(&store).await;
        let (theirs, b) = (store.clone(), build("b"));
        let waiting = tokio::spawn(async move { theirs.wait(&b, Seq(9), LONG).await });
        server.pause();
        assert_eq!(kind(append(&store, "b", 1).await), ErrorKind::Timeout);
        // Nor does a new connection get an answer.
        assert_eq!(kind(append(&store, "b", 1).await), ErrorKind::Timeout);
        assert_eq!(kind(store.wait(&build("b"), Seq(9), LONG).await), ErrorKind::Timeout);
        assert_eq!(kind(RedisDb::connect(config).await), ErrorKind::Timeout);
        assert_eq!(kind(waiting.await.unwrap()), ErrorKind::Timeout);
        server.go_on();
        // What was on its way may have arrived, once.
        let b = build("b");
        let end = patiently(|| store.load(&b, Seq::START)).await.len() as u64;
        assert!((1..=2).contains(&end), "{end}");
        grown(&store).await;
    });
}

#[test]
fn a_full_server_says_so_and_can_be_emptied() {
    let server = server!(DURABLE);
    run("a_full_server_says_so_and_can_be_emptied", async {
        let db = server.connect().await;
        let (store, queue, logs) = (db.store().unwrap(), db.queue(), db.logs());
        append(&store, "b", 0).await.unwrap();
        queue.push(job("x", "o")).await.unwrap();
        let lease = queue.lease(&node("n", 1), LONG, Duration::ZERO).await.unwrap().unwrap();
        logs.append(&build("b"), Offset(0), &[output(0, 100)]).await.unwrap();
        let mut raw = server.raw();
        let mut limit = |bytes: u64| {
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg("maxmemory").arg(bytes).query::<()>(&mut raw).unwrap();
        };
        limit(1);
        assert_eq!(kind(append(&store, "b", 1).await), ErrorKind::Exhausted);
        assert_eq!(kind(queue.push(job("y", "o")).await), ErrorKind::Exhausted);
        let more = logs.append(&build("b"), Offset(100), &[output(100, 9)]).await;
        assert_eq!(kind(more), ErrorKind::Exhausted);
        // Nothing was stored in part, all can be read, and what ends something works.
        assert_eq!(loaded(&store, "b").await, 1);
        let lease = queue.renew(&lease, LONG).await.unwrap();
        queue.settle(&lease, Settlement::Done).await.unwrap();
        logs.close(&build("b")).await.unwrap();
        let page = logs.read(&build("b"), Offset(0), 1000, LONG).await.unwrap();
        assert_eq!((page.next, page.closed), (Offset(100), true));
        logs.forget(&build("b")).await.unwrap();
        store.forget(&build("b")).await.unwrap();
        limit(0);
        append(&store, "b", 0).await.unwrap();
    });
}

#[test]
fn a_log_holds_no_more_output_than_it_may() {
    let server = server!(DURABLE);
    run("a_log_holds_no_more_output_than_it_may", async {
        let db = RedisDb::connect(server.config().log_bytes_max(1000)).await.unwrap();
        let (logs, b) = (db.logs(), build("b"));
        let end = logs.append(&b, Offset(0), &[output(0, 999)]).await.unwrap();
        let more = logs.append(&b, end, &[output(999, 1), output(1000, 1)]).await;
        assert_eq!(kind(more), ErrorKind::Exhausted);
        let end = logs.append(&b, end, &[output(999, 1)]).await.unwrap();
        // What says that something is missing has room.
        let body = kiln::port::LogBody::Gap { bytes: 5000, why: "full".into() };
        let gap = kiln::port::LogRecord { body, ..output(1000, 1) };
        let end = logs.append(&b, end, &[gap]).await.unwrap();
        assert_eq!(end, Offset(6000));
    });
}

#[test]
fn keys_of_others_are_told_from_ours() {
    let server = server!(DURABLE);
    run("keys_of_others_are_told_from_ours", async {
        let db = server.connect().await;
        let mut raw = server.raw();
        redis::cmd("SET").arg("kiln:journal:b").arg("x").query::<()>(&mut raw).unwrap();
        redis::cmd("SET").arg("kiln:log:b").arg("x").query::<()>(&mut raw).unwrap();
        let store = db.store().unwrap();
        assert_eq!(kind(append(&store, "b", 0).await), ErrorKind::Corrupt);
        assert_eq!(kind(store.load(&build("b"), Seq::START).await), ErrorKind::Corrupt);
        let logs = db.logs();
        let written = logs.append(&build("b"), Offset(0), &[output(0, 1)]).await;
        assert_eq!(kind(written), ErrorKind::Corrupt);
        let found = redis::cmd("EXISTS").arg("kiln:log:b:state").query::<u64>(&mut raw).unwrap();
        assert_eq!(found, 0, "a part of an append");
        redis::cmd("RPUSH").arg("kiln:journal:c").arg("{}").query::<()>(&mut raw).unwrap();
        assert_eq!(kind(store.load(&build("c"), Seq::START).await), ErrorKind::Corrupt);
        for (version, expected) in [("2", ErrorKind::Unsupported), ("x", ErrorKind::Invalid)] {
            redis::cmd("SET").arg("kiln:version").arg(version).query::<()>(&mut raw).unwrap();
            assert_eq!(kind(RedisDb::connect(server.config()).await), expected, "{version}");
        }
        let other = server.config().prefix("other:").unwrap();
        let other = RedisDb::connect(other).await.unwrap().store().unwrap();
        assert_eq!(loaded(&other, "c").await, 0);
    });
}

#[test]
fn who_may_not_enter_is_told_so() {
    let server = server!(&["--databases", "2"]);
    run("who_may_not_enter_is_told_so", async {
        let at = server.url().replace("hunter2%40%2F%25", "PASSWORD");
        let connect = async |url: String| RedisDb::connect(RedisConfig::new(&url).unwrap()).await;
        assert_eq!(kind(connect(at.replace("PASSWORD", "wrong")).await), ErrorKind::Denied);
        assert_eq!(kind(connect(at.replace(":PASSWORD@", "")).await), ErrorKind::Denied);
        let url = server.url().replace("/1", "/2");
        assert_eq!(kind(connect(url).await), ErrorKind::Invalid, "there are two databases");
        let mut raw = server.raw();
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER").arg("ann").arg("on").arg(format!(">{PASSWORD}")).arg("~kiln:*");
        user.arg("&kiln:*").arg("+@all").arg("-rpush").query::<()>(&mut raw).unwrap();
        let url = server.url().replace("//:", "//ann:");
        let config = RedisConfig::new(&url).unwrap().require(kiln_redis::Require::Nothing);
        let db = RedisDb::connect(config).await.unwrap();
        let store = db.store().unwrap();
        assert_eq!(kind(append(&store, "b", 0).await), ErrorKind::Denied);
        db.queue().push(job("x", "o")).await.unwrap();
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query::<()>(&mut raw).unwrap();
        assert_eq!(kind(db.queue().push(job("y", "o")).await), ErrorKind::Unavailable);
    });
}

#[test]
fn a_server_that_is_not_there_or_a_cluster_is_told_so() {
    let server = server!(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes"]);
    run("a_server_that_is_not_there_or_a_cluster_is_told_so", async {
        let cluster = RedisConfig::new(&server.url().replace("/1", "/0")).unwrap();
        assert_eq!(kind(RedisDb::connect(cluster).await), ErrorKind::Unsupported);
        server.kill();
        assert_eq!(kind(RedisDb::connect(server.config()).await), ErrorKind::Unavailable);
    });
}
