//! Writes that share a transaction, and reads beside them. A lock that another connection holds
//! makes the writes of a test gather.

use crate::common::{append, build, loaded};
use futures::{FutureExt, future::join_all};
use kiln::{ErrorKind, Owner, Seq, Timestamp, port::*};
use kiln_sqlite::SqliteDb;
use rusqlite::Connection;
use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long a write waits for a lock, less a little.
const LOCK_MAX: Duration = Duration::from_secs(4);

struct Held {
    _dir: tempfile::TempDir,
    path: PathBuf,
    db: SqliteDb,
    lock: Connection,
}

/// A file with one append to the build `b`, whose write lock somebody else holds.
async fn held() -> Held {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    let db = SqliteDb::open(&path).unwrap();
    append(&db, "b", 0).await.unwrap();
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    Held { _dir: dir, path, db, lock }
}

impl Held {
    /// Lets the writes go on once they had a moment to gather.
    async fn release(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.lock.execute_batch("COMMIT").unwrap();
    }
}

/// Runs a test, and again if it took longer than a write waits for a lock: then this process stood
/// still, or the disk did, and what failed says nothing.
async fn undisturbed(test: impl AsyncFn()) {
    for _ in 0..5 {
        let begin = Instant::now();
        match AssertUnwindSafe(test()).catch_unwind().await {
            Ok(()) => return,
            Err(e) if begin.elapsed() < LOCK_MAX => resume_unwind(e),
            Err(_) => {}
        }
    }
    panic!("five times it took longer than {LOCK_MAX:?}, and failed");
}

#[tokio::test]
async fn writes_that_share_a_transaction_have_their_own_answers() {
    undisturbed(async || {
        let held = held().await;
        let db = &held.db;
        // One that waits for the lock, so that all others come into the transaction after it.
        let first = append(db, "first", 0);
        // Good ones, stale ones, and two that race for one place.
        let good = join_all((0..20).map(|i| async move { append(db, &format!("g{i}"), 0).await }));
        let stale = join_all((0..5).map(|_| append(db, "b", 7)));
        let race = join_all((0..2).map(|_| append(db, "b", 1)));
        let (job, stranger) =
            (Job::new(build("b"), Owner::local()), kiln::NodeId::new("x").unwrap());
        let (queue, fleet) = (db.queue(), db.fleet());
        let other = futures::future::join(queue.push(job), fleet.beat(&stranger, Timestamp(1)));
        let (first, good, stale, race, (pushed, beat), ()) =
            tokio::join!(first, good, stale, race, other, held.release());
        assert_eq!(first.unwrap(), Seq(3));
        for (i, answer) in good.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), Seq(3));
            assert_eq!(loaded(db, &format!("g{i}")).await.unwrap(), 1);
        }
        for answer in stale {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Conflict);
        }
        let mut won: Vec<_> = race.into_iter().map(|r| r.map_err(|e| e.kind())).collect();
        won.sort_by_key(Result::is_err);
        assert_eq!(won, [Ok(Seq(6)), Err(ErrorKind::Conflict)]);
        assert_eq!(loaded(db, "b").await.unwrap(), 2);
        pushed.unwrap();
        assert_eq!(beat.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(db.queue().remove(&build("b")).await.unwrap());
    })
    .await;
}

/// What one write of a transaction wrote before it failed is undone, and nothing of another.
#[tokio::test]
async fn a_write_that_fails_half_way_is_undone_alone() {
    undisturbed(async || {
        let held = held().await;
        // Its first event is written by the time that the second fails.
        let make_odd =
            "CREATE TRIGGER odd AFTER INSERT ON event WHEN new.build = 'odd' AND new.seq = 2
                    BEGIN SELECT raise(ABORT, 'no'); END";
        held.lock.execute_batch(make_odd).unwrap();
        let db = &held.db;
        let (before, odd, after, ()) = tokio::join!(
            append(db, "before", 0),
            append(db, "odd", 0),
            append(db, "after", 0),
            held.release()
        );
        assert_eq!((before.unwrap(), after.unwrap()), (Seq(3), Seq(3)));
        assert_eq!(odd.unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!(loaded(db, "odd").await.unwrap(), 0);
        for name in ["before", "after"] {
            assert_eq!(loaded(db, name).await.unwrap(), 1);
        }
        assert!(!db.store().unfinished().await.unwrap().contains(&build("odd")));
    })
    .await;
}

#[tokio::test]
async fn reads_wait_for_no_write() {
    undisturbed(async || {
        let held = held().await;
        let db = &held.db;
        let mut writing = Box::pin(append(db, "b", 1));
        assert!(futures::poll!(&mut writing).is_pending());
        let reads = async {
            assert_eq!(loaded(db, "b").await.unwrap(), 1);
            let page = Page { max: 9, after: None };
            assert_eq!(db.index().list(&BuildFilter::default(), &page).await.unwrap(), []);
            assert_eq!(db.store().unfinished().await.unwrap(), [build("b")]);
            assert_eq!(db.fleet().nodes().await.unwrap(), []);
            assert!(db.store().wait(&build("b"), Seq(1), Duration::ZERO).await.unwrap());
        };
        // A write waits for five seconds.
        tokio::time::timeout(LOCK_MAX, reads).await.unwrap();
        assert!(futures::poll!(&mut writing).is_pending());
        held.release().await;
        writing.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_stays_is_told_of_and_passes() {
    undisturbed(async || {
        let held = held().await;
        let e = append(&held.db, "b", 1).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert_eq!(e.retry_status(), kiln::Status::Temporary);
        held.release().await;
        append(&held.db, "b", 1).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_turn_does_nothing() {
    undisturbed(async || {
        let held = held().await;
        let first = append(&held.db, "first", 0);
        let mut first = Box::pin(first);
        assert!(futures::poll!(&mut first).is_pending());
        // The writer has the first by now, and waits for the lock.
        tokio::time::sleep(Duration::from_millis(50)).await;
        {
            let mut dropped = Box::pin(append(&held.db, "dropped", 0));
            assert!(futures::poll!(&mut dropped).is_pending());
        }
        held.release().await;
        first.await.unwrap();
        append(&held.db, "last", 0).await.unwrap();
        assert_eq!(loaded(&held.db, "dropped").await.unwrap(), 0);
        assert_eq!(loaded(&SqliteDb::open(&held.path).unwrap(), "last").await.unwrap(), 1);
    })
    .await;
}
