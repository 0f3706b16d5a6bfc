//! The adapters of this crate keep the promises of their ports.

use kiln::memory::VirtualClock;
use kiln_conformance::Fresh;
use kiln_sqlite::{SqliteDb, SqliteFleet, SqliteIndex, SqliteQueue, SqliteStore};
use std::{path::PathBuf, sync::Arc};

fn db() -> (tempfile::TempDir, PathBuf, SqliteDb) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kiln.db");
    let db = SqliteDb::open(&path).unwrap();
    (dir, path, db)
}

mod store {
    use super::*;

    fn fresh() -> Fresh<SqliteStore> {
        let (dir, path, db) = db();
        let again = move || std::future::ready(Arc::new(SqliteDb::open(&path).unwrap().store()));
        Fresh::new(Arc::new(db.store())).reopen(again).keep(dir)
    }
    kiln_conformance::store_suite!(fresh());
}

mod index {
    use super::*;

    fn fresh() -> Fresh<SqliteIndex> {
        let (dir, _, db) = db();
        Fresh::new(Arc::new(db.index())).keep(dir)
    }
    kiln_conformance::index_suite!(fresh());
}

/// By a clock that the suite moves: a disk that is slow for a moment makes no lease expire.
mod queue {
    use super::*;

    fn fresh() -> Fresh<SqliteQueue> {
        let (dir, path, db) = db();
        let clock = VirtualClock::at(kiln::Timestamp(1_000_000));
        let (first, again) = (Arc::new(clock.clone()), Arc::new(clock.clone()));
        let again = move || {
            let db = SqliteDb::open(&path).unwrap();
            std::future::ready(Arc::new(SqliteQueue::with_clock(&db, again.clone())))
        };
        let queue = SqliteQueue::with_clock(&db, first);
        Fresh::new(Arc::new(queue)).time(clock.into()).reopen(again).keep(dir)
    }
    kiln_conformance::queue_suite!(fresh());
}

mod fleet {
    use super::*;

    fn fresh() -> Fresh<SqliteFleet> {
        let (dir, _, db) = db();
        Fresh::new(Arc::new(db.fleet())).keep(dir)
    }
    kiln_conformance::fleet_suite!(fresh());
}
