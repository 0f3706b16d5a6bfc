//! Servers and processes that are killed: nothing acknowledged is lost, nothing is there in part,
//! and whoever goes on needs no new handle.

use crate::{
    common::{Child, Place, append, build, connected, loaded, run, told, until},
    own::Own,
};
use kiln::{ErrorKind, Owner, Seq, Status, port::*};
use kiln_conformance::sample::node;
use kiln_postgres::{PgConfig, PgDb};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A server is killed without a warning and comes again, three times; drivers, a queue and waits go
/// on over the same handle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_it_acknowledged() {
    let test = "a_killed_server_loses_nothing_it_acknowledged";
    let Some(mut own) = Own::new(test).await else { return };
    let db = PgDb::connect(&PgConfig::new(&own.url()).unwrap()).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let driving: Vec<_> =
        (0..4).map(|i| tokio::spawn(drive(db.clone(), format!("b{i}"), over.clone()))).collect();
    db.queue().push(Job::new(build("leased"), Owner::local())).await.unwrap();
    let lease = db.queue().lease(&node("n", 9), LONG, LONG).await.unwrap().unwrap();
    for round in 0..3 {
        let late = build(&format!("late{round}"));
        let (store, of) = (db.store(), late.clone());
        let waiting = tokio::spawn(async move {
            // A look while the server is gone may say so; whoever waits asks again then.
            loop {
                match store.wait(&of, Seq::START, LONG).await {
                    Ok(there) => return there,
                    Err(e) => assert_eq!(e.retry_status(), Status::Temporary, "{e:?}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        until("progress", async || {
            let stored = loaded(&db, "b0").await.unwrap_or(0);
            stored > 20 * (round + 1)
        })
        .await;
        own.kill();
        until("an error", async || db.fleet().nodes().await.is_err()).await;
        let e = append(&db, late.as_str(), 0).await.unwrap_err();
        assert_eq!((e.kind(), e.retry_status()), (ErrorKind::Unavailable, Status::Temporary));
        own.start().await;
        until("an append", async || {
            append(&db, late.as_str(), 0).await.is_ok()
                || loaded(&db, late.as_str()).await.is_ok_and(|there| there == 1)
        })
        .await;
        assert!(tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap());
    }
    over.store(true, Ordering::SeqCst);
    for (i, driver) in driving.into_iter().enumerate() {
        let (acknowledged, failed) = driver.await.unwrap();
        let found = loaded(&db, &format!("b{i}")).await.unwrap();
        assert_eq!(found, acknowledged, "b{i}");
        assert!(failed > 0, "no driver of b{i} met the server's end");
    }
    let renewed = db.queue().renew(&lease, LONG).await.unwrap();
    db.queue().settle(&renewed, Settlement::Again(kiln::Timestamp(0))).await.unwrap();
    let again = db.queue().lease(&node("n", 9), LONG, LONG).await.unwrap().unwrap();
    assert!(again.token > lease.token);
}

/// Appends until it is over: how many there are then, and how many calls failed. What was
/// acknowledged has to be there whenever it looks.
async fn drive(db: PgDb, name: String, over: Arc<AtomicBool>) -> (u64, u64) {
    let (mut stored, mut failed) = (0, 0);
    while !over.load(Ordering::SeqCst) {
        match append(&db, &name, stored).await {
            Ok(_) => stored += 1,
            Err(e) => {
                assert_eq!(e.retry_status(), Status::Temporary, "{e:?}");
                failed += 1;
                let found = loop {
                    match loaded(&db, &name).await {
                        Ok(found) => break found,
                        Err(e) => assert_eq!(e.retry_status(), Status::Temporary, "{e:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                };
                // One more may be there: stored, and its answer lost.
                assert!((stored..=stored + 1).contains(&found), "{found} of {stored}");
                stored = found;
            }
        }
    }
    (stored, failed)
}

/// A server that pauses holds calls up, and does all of them once when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_pauses_does_later_what_it_was_asked() {
    let test = "a_server_that_pauses_does_later_what_it_was_asked";
    let Some(own) = Own::new(test).await else { return };
    let db = PgDb::connect(&PgConfig::new(&own.url()).unwrap()).await.unwrap();
    append(&db, "b0", 0).await.unwrap();
    own.pause(true);
    let calls: Vec<_> = (1..20)
        .map(|i| {
            let db = db.clone();
            tokio::spawn(async move { append(&db, &format!("b{i}"), 0).await })
        })
        .collect();
    let looked = tokio::spawn({
        let db = db.clone();
        async move { loaded(&db, "b0").await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(calls.iter().all(|call| !call.is_finished()) && !looked.is_finished());
    own.pause(false);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(looked.await.unwrap().unwrap(), 1);
    for i in 0..20 {
        assert_eq!(loaded(&db, &format!("b{i}")).await.unwrap(), 1);
    }
}

/// Two processes drive the same builds at once, one of them is killed: each place of a journal was
/// acknowledged to one of them, and what was is there.
#[test]
fn of_two_processes_one_has_each_place() {
    let Some(place) = Place::new("of_two_processes_one_has_each_place") else { return };
    run(async { drop(place.db().await) });
    let mut pair = ["a", "b"].map(|_| {
        let mut child = Child::new("crash::a_child_appends", &place);
        let stored = child.said("stored ");
        let said = std::thread::spawn(move || stored.collect::<Vec<_>>());
        (child, said)
    });
    run(async {
        let db = place.db().await;
        until("appends", async || loaded(&db, "b0").await.unwrap() > 60).await;
        pair[0].0.kill();
        let there = loaded(&db, "b0").await.unwrap();
        until("more appends", async || loaded(&db, "b0").await.unwrap() > there + 20).await;
        pair[1].0.kill();
    });
    let mut acknowledged = BTreeSet::new();
    let mut parts = Vec::new();
    for (_, said) in pair {
        let said = said.join().unwrap();
        // The last line may be cut.
        let whole = said.iter().filter_map(|line| {
            let (name, at) = line.split_once(' ')?;
            Some((name.to_owned(), at.strip_suffix('.')?.parse::<u64>().ok()?))
        });
        let mine: Vec<_> = whole.collect();
        parts.push(mine.len());
        for one in mine {
            assert!(acknowledged.insert(one.clone()), "{one:?} was acknowledged twice");
        }
    }
    assert!(parts.iter().all(|count| *count > 10), "{parts:?}");
    run(async {
        let db = place.db().await;
        for (name, at) in acknowledged {
            assert!(loaded(&db, &name).await.unwrap() > at, "{name} {at}");
        }
    });
}

#[test]
#[ignore = "a child of the test above"]
fn a_child_appends() {
    let Some(place) = told() else { return };
    run(async {
        let db = place.db().await;
        let drivers = (0..4).map(|i| {
            let (db, name) = (db.clone(), format!("b{i}"));
            async move {
                loop {
                    let at = loaded(&db, &name).await.unwrap();
                    match append(&db, &name, at).await {
                        Ok(_) => println!("stored {name} {at}."),
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e:?}"),
                    }
                }
            }
        });
        futures::future::join_all::<_>(drivers).await;
    });
}

/// However many processes lease from one queue, each job goes to one of them, and no group has more
/// leases than it may; who waits is woken by what another process does; what a killed one held is
/// free when its leases expire.
#[test]
fn processes_share_a_queue() {
    const JOBS: usize = 60;
    let Some(place) = Place::new("processes_share_a_queue") else { return };
    run(async { drop(place.db().await) });
    let mut children: Vec<_> =
        (0..3).map(|_| Child::new("crash::a_child_leases", &place)).collect();
    let hear = told_by(&mut children);
    (0..3).for_each(|_| assert!(hear.recv_timeout(PATIENCE).unwrap().starts_with("by ")));
    let push = async |name: &str, jobs: usize, limits: &[(&str, u32)]| {
        let db = place.db().await;
        for i in 0..jobs {
            let owner = Owner::new(format!("o{}", i % 4)).unwrap();
            let limits = limits.iter().map(|(group, most)| ((*group).to_owned(), *most)).collect();
            let job = Job { limits, ..Job::new(build(&format!("{name}{i}")), owner) };
            db.queue().push(job).await.unwrap();
        }
    };
    run(push("b", JOBS, &[("all", 40)]));
    let by = leased(&hear, 40);
    assert!(by.len() > 1, "one process had everything");
    assert_eq!(by.values().sum::<usize>(), 40, "a job went to two: {by:?}");
    let more = hear.recv_timeout(Duration::from_millis(500));
    assert_eq!(more, Err(mpsc::RecvTimeoutError::Timeout), "a group has more than it may");
    drop(children);

    let mut short = [Child::new("crash::a_child_leases_for_a_short_time", &place)];
    let hear = told_by(&mut short);
    run(push("c", 5, &[]));
    leased(&hear, 5);
    drop(short);
    run(async {
        let db = place.db().await;
        for _ in 0..5 {
            let lease = db.queue().lease(&node("heir", 1000), LONG, PATIENCE).await.unwrap();
            let build = lease.unwrap().job.build;
            assert!(build.as_str().starts_with('c'), "{build}");
        }
    });
}

/// What processes that lease tell, in the order in which it is heard.
fn told_by(children: &mut [Child]) -> mpsc::Receiver<String> {
    let (tell, hear) = mpsc::channel();
    for child in children {
        let (mut said, tell) = (child.said("leased "), tell.clone());
        std::thread::spawn(move || said.try_for_each(|line| tell.send(line)));
    }
    hear
}

/// Waits until so many different jobs were leased: how many by whom, as it was told.
fn leased(hear: &mpsc::Receiver<String>, jobs: usize) -> BTreeMap<String, usize> {
    let (mut seen, mut by) = (BTreeSet::new(), BTreeMap::new());
    while seen.len() < jobs {
        let line = hear.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{e}: {seen:?}"));
        if let Some((job, who)) = line.split_once(" by ") {
            seen.insert(job.to_owned());
            *by.entry(who.to_owned()).or_default() += 1;
        }
    }
    by
}

/// Longer than a machine stands still.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "a child of the test above"]
fn a_child_leases() {
    lease_until_killed(LONG);
}

#[test]
#[ignore = "a child of the test above"]
fn a_child_leases_for_a_short_time() {
    lease_until_killed(Duration::from_secs(2));
}

fn lease_until_killed(ttl: Duration) {
    let Some(place) = told() else { return };
    let who = std::process::id();
    run(async {
        let queue = place.db().await.queue();
        println!("leased by {who}");
        loop {
            let lease = queue.lease(&node(&format!("n{who}"), 1000), ttl, LONG).await.unwrap();
            println!("leased {} by {who}", lease.unwrap().job.build);
        }
    });
}

/// A server that was never there is told of, and one that stopped for good answers nobody for long.
#[tokio::test]
async fn a_server_that_is_gone_is_told_of_at_once() {
    let Some(mut own) = Own::new("a_server_that_is_gone_is_told_of_at_once").await else { return };
    let db = PgDb::connect(&PgConfig::new(&own.url()).unwrap()).await.unwrap();
    append(&db, "b", 0).await.unwrap();
    own.kill();
    assert!(connected(&own.url()).await.is_err());
    let asked = async {
        until("an error", async || db.store().unfinished().await.is_err()).await;
        let (b, n) = (build("b"), node("n", 1));
        let (store, filter) = (db.store(), BuildFilter::default());
        [
            store.load(&b, Seq::START).await.unwrap_err(),
            store.wait(&b, Seq(9), LONG).await.unwrap_err(),
            db.queue().lease(&n, LONG, LONG).await.unwrap_err(),
            db.logs().read(&b, Offset(0), 1, LONG).await.unwrap_err(),
            db.index().list(&filter, &Page { max: 1, after: None }).await.unwrap_err(),
            append(&db, "b", 1).await.unwrap_err(),
        ]
    };
    for e in tokio::time::timeout(PATIENCE, asked).await.unwrap() {
        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
        assert!(e.hint_text().is_some(), "{e:?}");
    }
}
