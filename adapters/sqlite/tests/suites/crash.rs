//! Processes that are killed, and files that a crash cut: nothing acknowledged is lost, nothing is
//! there in part.

use crate::common::{self, Child, append, build, loaded};
use kiln::{ErrorKind, NodeId, Owner, Resources, port::*};
use kiln_sqlite::SqliteDb;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::mpsc,
    time::Duration,
};

/// A number that is another in every run; a failure prints what it led to.
fn random(below: u64) -> u64 {
    u64::from_str_radix(&kiln::BuildId::random().as_str()[..15], 16).unwrap() % below
}

/// Two processes append to one file, one of them is killed at some moment; again and again.
#[test]
fn a_killed_process_loses_nothing_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..12 {
        let mut pair = ["a", "b"].map(|who| {
            let tell = format!("{}={who}{round}", path.display());
            let mut child = Child::new("crash::a_child_appends", tell);
            let stored = child.said("stored ");
            let (tell, begun) = mpsc::channel();
            let said = std::thread::spawn(move || {
                // Nobody listens any more once enough was said.
                stored.inspect(|_| tell.send(()).unwrap_or_default()).collect::<Vec<_>>()
            });
            // However long it takes.
            (0..6).for_each(|_| begun.recv_timeout(PATIENCE).unwrap());
            (child, said)
        });
        std::thread::sleep(Duration::from_millis(50 + random(400)));
        pair[(round % 2) as usize].0.kill();
        std::thread::sleep(Duration::from_millis(random(100)));
        pair.iter_mut().for_each(|(child, _)| child.kill());
        for line in pair.into_iter().flat_map(|(_, said)| said.join().unwrap()) {
            // The last line may be cut.
            let Some((name, Ok(appends))) = line.split_once(' ').map(|(n, a)| (n, a.parse()))
            else {
                continue;
            };
            acknowledged.insert(name.to_owned(), appends);
        }
        common::run(async {
            let db = SqliteDb::open(&path).unwrap();
            for (name, appends) in &acknowledged {
                let found = loaded(&db, name).await.unwrap();
                // One more may be there: stored, and killed before it could say so.
                assert!(
                    (*appends..=appends + 1).contains(&found),
                    "{name}: {found}, told {appends}"
                );
            }
        });
    }
    let all: u64 = acknowledged.values().sum();
    assert!(
        acknowledged.len() >= 12 && all > 100,
        "{all} appends of {} builds",
        acknowledged.len()
    );
    let raw = rusqlite::Connection::open(&path).unwrap();
    let check: String = raw.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
#[ignore = "a child of the test above"]
fn a_child_appends() {
    let Some(told) = common::told() else { return };
    let (path, who) = told.to_str().unwrap().rsplit_once('=').unwrap();
    let db = SqliteDb::open(Path::new(path)).unwrap();
    common::run(async {
        let drivers = (0..4).map(|i| {
            let (db, name) = (db.clone(), format!("{who}-{i}"));
            async move {
                for n in 0.. {
                    // On a slow disk another process may hold the file for long.
                    while let Err(e) = append(&db, &name, n).await {
                        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
                    }
                    println!("stored {name} {}", n + 1);
                }
            }
        });
        futures::future::join_all(drivers).await;
    });
}

/// A log that was cut anywhere opens, and holds the appends up to some place, whole.
#[test]
fn a_torn_log_holds_a_prefix_of_what_was_stored() {
    const APPENDS: u64 = 25;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    let wal = |of: &Path| of.with_extension("db-wal");
    common::run(async {
        let db = SqliteDb::open(&path).unwrap();
        // How long the log was when an append returned: from there on it is not lost.
        let mut lengths = vec![std::fs::metadata(wal(&path)).unwrap().len()];
        for n in 0..APPENDS {
            append(&db, "b", n).await.unwrap();
            lengths.push(std::fs::metadata(wal(&path)).unwrap().len());
        }
        let (main, log) = (std::fs::read(&path).unwrap(), std::fs::read(wal(&path)).unwrap());
        let frame = 24 + 4096;
        let mut cuts: BTreeSet<usize> =
            (0..150).map(|_| random(log.len() as u64) as usize).collect();
        cuts.extend((32..log.len()).step_by(frame).flat_map(|at| [at - 1, at, at + 1]));
        cuts.extend([0, 31, log.len()]);
        for (i, cut) in cuts.into_iter().enumerate() {
            let torn = dir.path().join(format!("torn{i}.db"));
            std::fs::write(&torn, &main).unwrap();
            std::fs::write(wal(&torn), &log[..cut]).unwrap();
            let db = SqliteDb::open(&torn).unwrap();
            let found = loaded(&db, "b").await.unwrap();
            let safe =
                lengths.iter().filter(|l| **l <= cut as u64).count().saturating_sub(1) as u64;
            assert_eq!(found, safe, "cut at {cut} of {}", log.len());
            drop(db);
            std::fs::remove_file(&torn).unwrap();
        }
    });
}

fn node(name: &str) -> Node {
    Node {
        id: NodeId::new(name).unwrap(),
        labels: BTreeMap::new(),
        slots: 100,
        resources: Resources::default(),
        drained: false,
        seen_at: kiln::Timestamp(0),
    }
}

/// However many processes lease from one file, each job goes to one of them; who waits is woken by
/// what another process does; what a killed one held is free when its leases expire.
#[test]
fn processes_share_a_queue() {
    const JOBS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    let child = |ttl: Duration| {
        Child::new("crash::a_child_leases", format!("{}={}", path.display(), ttl.as_millis()))
    };
    let mut children = [child(LONG), child(LONG), child(LONG)];
    let hear = told_by(&mut children);
    (0..3).for_each(|_| assert!(hear.recv_timeout(PATIENCE).unwrap().starts_with("by ")));
    let push = async |name: &str, jobs: usize| {
        let db = SqliteDb::open(&path).unwrap();
        for i in 0..jobs {
            let owner = Owner::new(format!("o{}", i % 4)).unwrap();
            let job = Job::new(build(&format!("{name}{i}")), owner);
            while let Err(e) = db.queue().push(job.clone()).await {
                assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
            }
        }
    };
    common::run(push("b", JOBS));
    let by = leased(&hear, JOBS);
    assert!(by.len() > 1, "one process had everything");
    assert_eq!(by.values().sum::<usize>(), JOBS, "a job went to two: {by:?}");
    drop(children);

    let mut short = [child(Duration::from_secs(2))];
    let hear = told_by(&mut short);
    common::run(push("c", 5));
    leased(&hear, 5);
    drop(short);
    common::run(async {
        let db = SqliteDb::open(&path).unwrap();
        for _ in 0..5 {
            let lease = loop {
                match db.queue().lease(&node("heir"), LONG, PATIENCE).await {
                    Ok(lease) => break lease.unwrap(),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}"),
                }
            };
            assert!(lease.job.build.as_str().starts_with('c'), "{lease:?}");
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

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// Longer than a machine stands still.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "a child of the test above"]
fn a_child_leases() {
    let Some(told) = common::told() else { return };
    let (path, ttl) = told.to_str().unwrap().rsplit_once('=').unwrap();
    let ttl = Duration::from_millis(ttl.parse().unwrap());
    let db = SqliteDb::open(Path::new(path)).unwrap();
    let who = std::process::id();
    common::run(async {
        println!("leased by {who}");
        loop {
            let lease = db.queue().lease(&node(&format!("n{who}")), ttl, LONG).await;
            match lease.map(Option::unwrap) {
                Ok(lease) => println!("leased {} by {who}", lease.job.build),
                // On a slow disk another process may hold the file for long.
                Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}"),
            }
        }
    });
}

/// Who waits is told of what another process appends.
#[test]
fn a_wait_sees_what_another_process_appends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    common::run(async {
        let db = SqliteDb::open(&path).unwrap();
        let first = build("x-0");
        let mut child = Child::new("crash::a_child_appends", format!("{}=x", path.display()));
        assert!(db.store().wait(&first, kiln::Seq::START, PATIENCE).await.unwrap());
        child.kill();
        assert!(loaded(&db, "x-0").await.unwrap() > 0);
    });
}
