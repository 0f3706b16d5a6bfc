//! The remote adapters keep the promises of their ports, over memory and over SQLite and files.
//!
//! The server answers an admin, so the suites touch builds without a lease.

use crate::served::{Served, ann};
use kiln::{
    Secret, SecretRef, Timestamp, Toolbox,
    memory::{
        MemoryArtifacts, MemoryFleet, MemoryLog, MemoryQueue, MemorySecrets, MemoryStore,
        VirtualClock,
    },
};
use kiln_conformance::Fresh;
use kiln_remote::{
    RemoteArtifacts, RemoteFleet, RemoteIndex, RemoteLogs, RemoteQueue, RemoteSecrets, RemoteStore,
};
use std::sync::Arc;

/// By a clock that the suite moves: a machine that is slow for a moment makes no lease expire.
fn clock() -> VirtualClock {
    VirtualClock::at(Timestamp(1_000_000))
}

/// Whether time has to be real: a call that was dropped may arrive still, and a clock that leaps
/// does not wait for it.
fn in_real_time() -> bool {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    test.ends_with("a_cancelled_lease_costs_nothing_for_long")
}

mod memory {
    use super::*;

    mod store {
        use super::*;

        fn fresh() -> Fresh<RemoteStore> {
            let clock = clock();
            let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
            let tools = Toolbox { store, ..Toolbox::default() };
            let client = Served { tools, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteStore::new(client))).time(clock.into())
        }
        kiln_conformance::store_suite!(fresh());
    }

    mod log {
        use super::*;

        fn fresh() -> Fresh<RemoteLogs> {
            let clock = clock();
            let log = Arc::new(MemoryLog::with_clock(Arc::new(clock.clone())));
            let tools = Toolbox { log_sink: log.clone(), log_reader: log, ..Toolbox::default() };
            let client = Served { tools, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteLogs::new(client))).time(clock.into())
        }
        kiln_conformance::log_suite!(fresh());
    }

    mod queue {
        use super::*;

        fn fresh() -> Fresh<RemoteQueue> {
            if in_real_time() {
                return Fresh::new(Arc::new(RemoteQueue::new(Served::default().client())));
            }
            let clock = clock();
            let queue = Arc::new(MemoryQueue::with_clock(Arc::new(clock.clone())));
            let client = Served { queue, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteQueue::new(client))).time(clock.into())
        }
        kiln_conformance::queue_suite!(fresh());
    }

    mod index {
        use super::*;
        kiln_conformance::index_suite!(Fresh::new(Arc::new(RemoteIndex::new(
            Served::default().client()
        ))));
    }

    mod fleet {
        use super::*;

        fn fresh() -> Fresh<RemoteFleet> {
            let fleet = Arc::new(MemoryFleet::default());
            let client = Served { fleet, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteFleet::new(client)))
        }
        kiln_conformance::fleet_suite!(fresh());
    }

    mod artifacts {
        use super::*;

        fn fresh() -> Fresh<RemoteArtifacts> {
            let artifacts = Arc::new(MemoryArtifacts::default());
            let tools = Toolbox { artifacts, ..Toolbox::default() };
            let client = Served { tools, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteArtifacts::new(client)))
        }
        kiln_conformance::artifacts_suite!(fresh());
    }

    mod secrets {
        use super::*;

        fn fresh() -> Fresh<RemoteSecrets> {
            let secrets = MemorySecrets::default();
            secrets.set(ann(), SecretRef::new("token").unwrap(), Secret::new("s3cret of ann"));
            let tools = Toolbox { secrets: Arc::new(secrets), ..Toolbox::default() };
            let client = Served { tools, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteSecrets::new(client)))
        }
        kiln_conformance::secrets_suite!(fresh());
    }
}

mod disk {
    use super::*;
    use kiln_files::{FileArtifacts, FileLogs, FileSecrets};
    use kiln_sqlite::{SqliteDb, SqliteQueue};
    use std::{future::ready, os::unix::fs::PermissionsExt, path::PathBuf};

    fn db() -> (tempfile::TempDir, PathBuf, SqliteDb) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kiln.db");
        let db = SqliteDb::open(&path).unwrap();
        (dir, path, db)
    }

    mod store {
        use super::*;

        fn open(path: &std::path::Path) -> Arc<RemoteStore> {
            let store = Arc::new(SqliteDb::open(path).unwrap().store());
            let tools = Toolbox { store, ..Toolbox::default() };
            Arc::new(RemoteStore::new(Served { tools, ..Served::default() }.client()))
        }

        fn fresh() -> Fresh<RemoteStore> {
            let (dir, path, _) = db();
            Fresh::new(open(&path)).reopen(move || ready(open(&path))).keep(dir)
        }
        kiln_conformance::store_suite!(fresh());
    }

    mod index {
        use super::*;

        fn fresh() -> Fresh<RemoteIndex> {
            let (dir, _, db) = db();
            let tools = Toolbox { index: Arc::new(db.index()), ..Toolbox::default() };
            let client = Served { tools, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteIndex::new(client))).keep(dir)
        }
        kiln_conformance::index_suite!(fresh());
    }

    mod queue {
        use super::*;

        fn fresh() -> Fresh<RemoteQueue> {
            let (dir, path, db) = db();
            if in_real_time() {
                let served = Served { queue: Arc::new(db.queue()), ..Served::default() };
                return Fresh::new(Arc::new(RemoteQueue::new(served.client()))).keep(dir);
            }
            let clock = clock();
            let open = {
                let clock = clock.clone();
                move || {
                    let db = SqliteDb::open(&path).unwrap();
                    let queue = SqliteQueue::with_clock(&db, Arc::new(clock.clone()));
                    let served = Served { queue: Arc::new(queue), ..Served::default() };
                    Arc::new(RemoteQueue::new(served.client()))
                }
            };
            Fresh::new(open()).time(clock.into()).reopen(move || ready(open())).keep(dir)
        }
        kiln_conformance::queue_suite!(fresh());
    }

    mod fleet {
        use super::*;

        fn fresh() -> Fresh<RemoteFleet> {
            let (dir, _, db) = db();
            let served = Served { fleet: Arc::new(db.fleet()), ..Served::default() };
            Fresh::new(Arc::new(RemoteFleet::new(served.client()))).keep(dir)
        }
        kiln_conformance::fleet_suite!(fresh());
    }

    mod log {
        use super::*;

        fn fresh() -> Fresh<RemoteLogs> {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().to_owned();
            let open = move || {
                let log = Arc::new(FileLogs::open(&path).unwrap());
                let tools =
                    Toolbox { log_sink: log.clone(), log_reader: log, ..Toolbox::default() };
                Arc::new(RemoteLogs::new(Served { tools, ..Served::default() }.client()))
            };
            Fresh::new(open()).reopen(move || ready(open())).keep(dir)
        }
        kiln_conformance::log_suite!(fresh());
    }

    mod artifacts {
        use super::*;

        fn fresh() -> Fresh<RemoteArtifacts> {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().to_owned();
            let open = move || {
                let artifacts = Arc::new(FileArtifacts::open(&path).unwrap());
                let tools = Toolbox { artifacts, ..Toolbox::default() };
                Arc::new(RemoteArtifacts::new(Served { tools, ..Served::default() }.client()))
            };
            Fresh::new(open()).reopen(move || ready(open())).keep(dir)
        }
        kiln_conformance::artifacts_suite!(fresh());
    }

    mod secrets {
        use super::*;

        fn fresh() -> Fresh<RemoteSecrets> {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("token");
            std::fs::write(&file, "s3cret of ann").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let secrets = FileSecrets::of(ann()).with(SecretRef::new("token").unwrap(), file);
            let tools = Toolbox { secrets: Arc::new(secrets), ..Toolbox::default() };
            let client = Served { tools, ..Served::default() }.client();
            Fresh::new(Arc::new(RemoteSecrets::new(client))).keep(dir)
        }
        kiln_conformance::secrets_suite!(fresh());
    }
}
