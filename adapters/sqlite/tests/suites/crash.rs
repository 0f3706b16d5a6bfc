//! Processes that are killed, and files that a crash cut: nothing acknowledged is lost, nothing is
//! there in part.

use crate::common::{self, Child, append, build, loaded};
use kiln::{NodeId, Owner, Resources, port::*};
use kiln_sqlite::SqliteDb;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
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
            let said = std::thread::spawn(move || stored.collect::<Vec<_>>());
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
                    append(&db, &name, n).await.unwrap();
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
    let mut children: Vec<_> = (0..3)
        .map(|i| Child::new("crash::a_child_leases", format!("{}=n{i}", path.display())))
        .collect();
    common::run(async {
        let db = SqliteDb::open(&path).unwrap();
        for i in 0..JOBS {
            let owner = Owner::new(format!("o{}", i % 4)).unwrap();
            db.queue().push(Job::new(build(&format!("b{i}")), owner)).await.unwrap();
        }
    });
    let mut all: Vec<String> = Vec::new();
    let mut parts = 0;
    for child in &mut children {
        let leased: Vec<_> = child.said("leased ").take_while(|l| l != "enough").collect();
        parts += usize::from(!leased.is_empty());
        all.extend(leased);
    }
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), unique.len()), (JOBS, JOBS), "{all:?}");
    assert!(parts > 1, "one process had everything");
    drop(children);
    common::run(async {
        let db = SqliteDb::open(&path).unwrap();
        let mut again = 0;
        while db.queue().lease(&node("heir"), TTL, TTL * 2).await.unwrap().is_some() {
            again += 1;
            if again == JOBS {
                break;
            }
        }
        assert_eq!(again, JOBS);
    });
}

const TTL: Duration = Duration::from_secs(8);

#[test]
#[ignore = "a child of the test above"]
fn a_child_leases() {
    let Some(told) = common::told() else { return };
    let (path, who) = told.to_str().unwrap().rsplit_once('=').unwrap();
    let db = SqliteDb::open(Path::new(path)).unwrap();
    common::run(async {
        let queue = db.queue();
        let mut patience = Duration::from_secs(30);
        while let Some(lease) = queue.lease(&node(who), TTL, patience).await.unwrap() {
            println!("leased {}", lease.job.build);
            // Longer than any of the others needs to be told of a job, shorter than a lease.
            patience = Duration::from_secs(2);
        }
        println!("leased enough");
        tokio::time::sleep(Duration::from_secs(3600)).await;
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
        let patience = Duration::from_secs(30);
        assert!(db.store().wait(&first, kiln::Seq::START, patience).await.unwrap());
        child.kill();
        assert!(loaded(&db, "x-0").await.unwrap() > 0);
    });
}
