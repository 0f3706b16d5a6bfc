//! The adapters of this crate keep the promises of their ports.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use kiln_conformance::Fresh;
use kiln_sqlite::{SqliteDb, SqliteIndex, SqliteStore};
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

#[test]
fn a_file_of_a_newer_version_is_refused_and_garbage_is_corrupt() {
    let (dir, path, db) = db();
    drop(db);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let e = SqliteDb::open(&path).unwrap_err();
    assert_eq!(e.kind(), kiln::ErrorKind::Unsupported);
    let garbage = dir.path().join("garbage");
    std::fs::write(&garbage, [7; 4096]).unwrap();
    assert_eq!(SqliteDb::open(&garbage).unwrap_err().kind(), kiln::ErrorKind::Corrupt);
}
