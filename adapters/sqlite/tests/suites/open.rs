//! What opening a file promises: whose it is, its version, its mode, and a disk that says no.

use crate::common::{self, Child, append, loaded};
use kiln::ErrorKind;
use kiln_sqlite::SqliteDb;
use rusqlite::Connection;
use std::{path::Path, time::Duration};

fn opened(path: &Path) -> (ErrorKind, bool) {
    let e = SqliteDb::open(path).unwrap_err();
    (e.kind(), e.hint_text().is_some())
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_garbage_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    drop(SqliteDb::open(&path).unwrap());
    for version in [99, -1] {
        let raw = Connection::open(&path).unwrap();
        raw.pragma_update(None, "user_version", version).unwrap();
        drop(raw);
        assert_eq!(opened(&path), (ErrorKind::Unsupported, true));
    }
    let garbage = dir.path().join("garbage");
    std::fs::write(&garbage, [7; 4096]).unwrap();
    assert_eq!(opened(&garbage), (ErrorKind::Corrupt, true));
}

#[test]
fn a_file_of_another_program_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("tables", "CREATE TABLE photo (id)"),
        ("application", "PRAGMA application_id = 7"),
        ("version", "PRAGMA user_version = 1"),
    ] {
        let path = dir.path().join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert_eq!(opened(&path), (ErrorKind::Invalid, true), "{name}");
        assert!(std::fs::read(&path).unwrap() == before, "{name} was written");
    }
    // An empty file is nobody's.
    let empty = dir.path().join("empty");
    std::fs::write(&empty, []).unwrap();
    SqliteDb::open(&empty).unwrap();
    assert_eq!(opened(&dir.path().join("no/such/directory")), (ErrorKind::Denied, true));
    assert_eq!(opened(dir.path()), (ErrorKind::Denied, true));
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_for_its_owner_in_any_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let db = SqliteDb::open(&dir.path().join("kiln.db")).unwrap();
    append(&db, "b", 0).await.unwrap();
    for name in ["kiln.db", "kiln.db-wal", "kiln.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// Many open a new file at once: each waits for the one that makes it.
#[test]
fn a_new_file_is_made_once_however_many_open_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let path = dir.path().join(format!("{round}.db"));
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| SqliteDb::open(&path).unwrap());
            }
        });
    }
}

#[test]
fn opening_waits_for_another_that_holds_the_file() {
    // Opening waits for five seconds: again, if this process stood still for that long.
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kiln.db");
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let begin = std::time::Instant::now();
        let opened = std::thread::scope(|s| {
            let opening = s.spawn(|| SqliteDb::open(&path));
            std::thread::sleep(Duration::from_millis(200));
            let waits = !opening.is_finished();
            raw.execute_batch("ROLLBACK").unwrap();
            let opened = opening.join().unwrap();
            assert!(waits || opened.is_err(), "it did not wait");
            opened
        });
        match opened {
            Ok(_) => return,
            Err(e) => assert!(begin.elapsed() > Duration::from_secs(4), "{e:?}"),
        }
    }
    panic!("five times it was held for long");
}

/// On a disk of a megabyte that is then mounted for reading only: every append that succeeded is
/// there, and what failed says why.
#[test]
fn a_full_disk_and_a_disk_for_reading_lose_nothing() {
    let script = "mount -t tmpfs -o size=1m none $0 && exec \"$@\"";
    let dir = tempfile::tempdir().unwrap();
    let unshared = ["unshare", "-rm", "sh", "-c", script];
    let tried = std::process::Command::new("unshare")
        .args(&unshared[1..])
        .args([dir.path().as_os_str(), "true".as_ref()])
        .output();
    if !tried.is_ok_and(|o| o.status.success()) {
        return println!(
            "SKIPPED: a_full_disk_and_a_disk_for_reading_lose_nothing: kernel: no user namespaces"
        );
    }
    let child = Child::under(&unshared, dir.path(), "open::a_child_fills_its_disk", dir.path());
    let (ok, told) = child.output();
    assert!(ok, "{told}");
}

#[test]
#[ignore = "a child of the test above"]
fn a_child_fills_its_disk() {
    let Some(dir) = common::told() else { return };
    common::run(async {
        let path = dir.join("kiln.db");
        let db = SqliteDb::open(&path).unwrap();
        let mut stored = 0;
        let full = loop {
            match append(&db, "b", stored).await {
                Ok(_) => stored += 1,
                Err(e) => break e,
            }
        };
        assert_eq!(full.kind(), ErrorKind::Exhausted, "{full:?}");
        assert!(full.hint_text().is_some() && stored > 10, "{stored}: {full:?}");
        assert_eq!(loaded(&db, "b").await.unwrap(), stored);
        // Many at once share the fate of their transaction.
        let more = futures::future::join_all((0..20).map(|i| {
            let db = db.clone();
            async move { append(&db, &format!("c{i}"), 0).await }
        }));
        for e in more.await.into_iter().filter_map(Result::err) {
            assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
        }
        drop(db);
        let mount = ["-o", "remount,size=8m", "none"];
        let again = |args: &[&str]| {
            let done = std::process::Command::new("mount").args(args).arg(&dir).status();
            assert!(done.unwrap().success());
        };
        again(&mount);
        let db = SqliteDb::open(&path).unwrap();
        assert_eq!(loaded(&db, "b").await.unwrap(), stored);
        append(&db, "b", stored).await.unwrap();
        drop(db);
        let since = std::time::Instant::now();
        loop {
            // The threads of the database let go of the file a moment after its last clone.
            let args = ["-o", "remount,ro", "none"];
            let done = std::process::Command::new("mount").args(args).arg(&dir).output().unwrap();
            if done.status.success() {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "{done:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(opened(&path), (ErrorKind::Denied, true));
        assert_eq!(opened(&dir.join("new.db")), (ErrorKind::Denied, true));
        again(&["-o", "remount,rw", "none"]);
        assert_eq!(loaded(&SqliteDb::open(&path).unwrap(), "b").await.unwrap(), stored + 1);
    });
}
