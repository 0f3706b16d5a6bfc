//! Connections that break and calls that are dropped.

use crate::common::{self, Place, append, build, loaded, until};
use futures::future::join_all;
use kiln::{ErrorKind, Seq, Status, port::*};
use kiln_conformance::{
    poll_times,
    sample::{job, node},
};
use kiln_postgres::{PgConfig, PgDb};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(60);

/// A database whose sessions can be told from those of other tests.
async fn named(place: &Place) -> (PgDb, Client) {
    let url = format!("{}?application_name={}", place.url, place.schema);
    let config = PgConfig::new(&url).unwrap().schema(&place.schema).unwrap();
    (PgDb::connect(&config).await.unwrap(), common::raw(&place.url).await)
}

async fn sessions(raw: &Client, of: &Place, that: &str) -> i64 {
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND {that}");
    raw.query_one(&sql, &[&of.schema]).await.unwrap().get(0)
}

/// Whether somebody listens.
async fn listens(raw: &Client, of: &Place) -> bool {
    // The session that listens does so first, and then asks for nothing but whether it is there.
    sessions(raw, of, "(query LIKE 'LISTEN%' OR query = '')").await == 1
}

/// Ends every session of the database; returns how many there were.
async fn end_all(raw: &Client, of: &Place) -> i64 {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name = $1";
    raw.query_one(sql, &[&of.schema]).await.unwrap().get(0)
}

/// Whoever drives goes on after its connections were ended, again and again: an append says that it
/// cannot be told, or it is there.
#[tokio::test]
async fn connections_that_end_are_made_anew() {
    let Some(place) = Place::new("connections_that_end_are_made_anew") else { return };
    let (db, raw) = named(&place).await;
    let (failed, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let driving: Vec<_> = (0..8)
        .map(|i| {
            let drive = drive(db.clone(), format!("b{i}"), failed.clone(), over.clone());
            tokio::spawn(drive)
        })
        .collect();
    let failed = || failed.load(Ordering::SeqCst);
    let mut ended = 0;
    for round in 1..=3 {
        until("a call that fails", async || {
            ended += end_all(&raw, &place).await;
            failed() >= 5 * round
        })
        .await;
    }
    over.store(true, Ordering::SeqCst);
    assert!(ended > 5, "{ended} sessions ended");
    for (i, driver) in driving.into_iter().enumerate() {
        let stored = driver.await.unwrap();
        assert_eq!(loaded(&db, &format!("b{i}")).await.unwrap(), stored);
    }
}

/// Appends until it is over; returns how many there are then.
async fn drive(db: PgDb, name: String, failed: Arc<AtomicU32>, over: Arc<AtomicBool>) -> u64 {
    let mut stored = 0;
    while !over.load(Ordering::SeqCst) {
        match append(&db, &name, stored).await {
            Ok(_) => stored += 1,
            Err(e) => {
                assert_eq!(e.retry_status(), Status::Temporary, "{e:?}");
                assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
                failed.fetch_add(1, Ordering::SeqCst);
                // Its answer may be lost, and not what it wrote.
                let found = loop {
                    match loaded(&db, &name).await {
                        Ok(found) => break found,
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}"),
                    }
                };
                assert!((stored..=stored + 1).contains(&found), "{found} of {stored}");
                stored = found;
            }
        }
    }
    stored
}

/// Who waits while the listening connection ends is woken all the same, also by what came while
/// nobody listened.
#[tokio::test]
async fn who_waits_misses_nothing_while_the_listener_is_gone() {
    let test = "who_waits_misses_nothing_while_the_listener_is_gone";
    let Some(place) = Place::new(test) else { return };
    let (db, raw) = named(&place).await;
    let other = place.db().await;
    for round in 0..5 {
        let (name, other) = (format!("b{round}"), other.clone());
        until("a listener", async || listens(&raw, &place).await).await;
        let (store, queue, logs) = (db.store(), db.queue(), db.logs());
        let (b, n) = (build(&name), node("n", 9));
        let waiting = async {
            tokio::join!(
                store.wait(&b, Seq::START, LONG),
                queue.lease(&n, LONG, LONG),
                logs.read(&b, Offset(0), 1000, LONG),
            )
        };
        let mut waiting = Box::pin(waiting);
        assert!(poll_times(&mut waiting, 20).await.is_none());
        end_all(&raw, &place).await;
        append(&other, &name, 0).await.unwrap();
        other.queue().push(job(&name, "o")).await.unwrap();
        other.logs().close(&b).await.unwrap();
        let woken = tokio::time::timeout(LONG, waiting).await.unwrap();
        // Of the three each may have looked while its connection ended.
        let down = |e: &kiln::Error| e.kind() == ErrorKind::Unavailable;
        assert!(woken.0.as_ref().map_or_else(down, |there| *there), "{woken:?}");
        assert!(woken.1.as_ref().map_or_else(down, Option::is_some), "{woken:?}");
        assert!(woken.2.as_ref().map_or_else(down, |page| page.closed), "{woken:?}");
        other.queue().remove(&b).await.unwrap();
    }
}

/// Calls that are dropped at any moment leave no transaction open and nothing half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_leave_nothing_open() {
    let Some(place) = Place::new("dropped_calls_leave_nothing_open") else { return };
    let (db, raw) = named(&place).await;
    let n = node("n", 9);
    for i in 0..40 {
        let name = format!("b{i}");
        let (queue, index) = (db.queue(), db.index());
        let summary = kiln_conformance::sample::summary(&name, 1);
        tokio::join!(
            poll_times(append(&db, &name, 0), i % 11),
            poll_times(queue.push(job(&name, "o")), i % 7),
            poll_times(queue.lease(&n, LONG, LONG), i % 9),
            poll_times(index.put(&summary), i % 5),
            poll_times(append(&db, "one", 0), i % 13),
        );
    }
    let open = "state LIKE 'idle in transaction%'";
    until("an end of all transactions", async || {
        sessions(&raw, &place, "state NOT IN ('idle')").await == 0
    })
    .await;
    assert_eq!(sessions(&raw, &place, open).await, 0);
    for i in 0..40 {
        let name = format!("b{i}");
        let there = loaded(&db, &name).await.unwrap();
        append(&db, &name, there).await.unwrap();
    }
    assert!(loaded(&db, "one").await.unwrap() <= 1);
}

/// However many follow one log, one connection listens and few read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_followers_need_few_connections() {
    let Some(place) = Place::new("two_hundred_followers_need_few_connections") else { return };
    let (db, raw) = named(&place).await;
    until("a listener", async || listens(&raw, &place).await).await;
    let following: Vec<_> = (0..200)
        .map(|_| {
            let logs = db.logs();
            tokio::spawn(
                async move { logs.read(&build("b"), Offset(0), 1000, LONG).await.unwrap() },
            )
        })
        .collect();
    // All have looked once when nobody asks any more.
    let busy = "backend_type = 'client backend' AND query LIKE '%FROM log l%'";
    until("a look", async || sessions(&raw, &place, busy).await > 0).await;
    let count = sessions(&raw, &place, "true").await;
    assert!(count <= 6 + 3 + 1, "{count} connections");
    assert!(following.iter().all(|f| !f.is_finished()));
    let record = LogRecord {
        at: Offset(0),
        time: kiln::Timestamp(1),
        step: kiln::StepId(0),
        attempt: 1,
        body: LogBody::Started,
    };
    db.logs().append(&build("b"), Offset(0), std::slice::from_ref(&record)).await.unwrap();
    for page in tokio::time::timeout(LONG, join_all(following)).await.unwrap() {
        assert_eq!(page.unwrap().records, std::slice::from_ref(&record));
    }
    assert!(sessions(&raw, &place, "true").await <= 6 + 3 + 1);
}

/// What one write of a transaction is refused for the others do not suffer, and nothing of it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_half_way_is_undone_alone() {
    let test = "a_write_that_fails_half_way_is_undone_alone";
    let Some(place) = Place::new(test) else { return };
    let (db, raw) = named(&place).await;
    // Its first event is written by the time that the second fails.
    let odd = "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE division_by_zero; END $$;
        CREATE TRIGGER odd AFTER INSERT ON event FOR EACH ROW
            WHEN (new.build = 'odd' AND new.seq = 2) EXECUTE FUNCTION odd()";
    raw.batch_execute(&format!("SET search_path = {}; {odd}", place.schema)).await.unwrap();
    // A lock that somebody holds for a while makes writes gather.
    for name in ["held0", "held1"] {
        append(&db, name, 0).await.unwrap();
    }
    let lock = "BEGIN; SELECT 1 FROM journal WHERE build LIKE 'held%' FOR UPDATE";
    let holder = place.raw().await;
    holder.batch_execute(lock).await.unwrap();
    let start = |name: String, after| {
        let db = db.clone();
        tokio::spawn(async move { append(&db, &name, after).await })
    };
    let mut held = Vec::new();
    for i in 0..2 {
        held.push(start(format!("held{i}"), 1));
        let waiting = "wait_event_type = 'Lock'";
        until("a write that waits", async || sessions(&raw, &place, waiting).await > i).await;
    }
    let more: Vec<_> = (0..20).map(|i| start(format!("b{i}"), 0)).collect();
    let odd = start("odd".to_owned(), 0);
    // They have to be in the queue of the handle.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(more.iter().all(|write| !write.is_finished()) && !odd.is_finished());
    holder.batch_execute("COMMIT").await.unwrap();
    for write in held.into_iter().chain(more) {
        write.await.unwrap().unwrap();
    }
    assert_eq!(odd.await.unwrap().unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!(loaded(&db, "odd").await.unwrap(), 0);
    for i in 0..20 {
        assert_eq!(loaded(&db, &format!("b{i}")).await.unwrap(), 1);
    }
}
