//! Opening a file: whose it is, which version it has, and how it is written.

use crate::error::{cannot_make, is_busy, only_readable, translate};
use kiln::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};
use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

const OP: &str = "Sqlite::open";
/// Marks the file as ours: "KILN" in ASCII.
const APPLICATION_ID: i64 = 0x4b49_4c4e;
const MIGRATIONS: [&str; 3] = [
    include_str!("../migrations/0001.sql"),
    include_str!("../migrations/0002.sql"),
    include_str!("../migrations/0003.sql"),
];
/// How long to wait for another process that holds the file.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look whether it still does. Whoever writes all the time gives way for moments
/// only, which SQLite's own pauses of 100 ms hardly ever hit.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The write-ahead log is cut to this after it was longer, in bytes.
const WAL_KEPT: u64 = 64 << 20;

/// What a file is before anything was done to it.
struct Found {
    application: i64,
    version: usize,
    objects: u64,
}

/// Opens a file for writing; makes it or brings it up to date where needed. The path is absolute,
/// for further connections whatever becomes of the working directory.
pub(crate) fn open(path: &Path) -> Result<(Connection, PathBuf)> {
    make(path).map_err(|e| cannot_make(OP, e))?;
    let path = path.canonicalize().map_err(|e| cannot_make(OP, e))?;
    let mut connection = connect(&path).map_err(|e| translate(OP, &e))?;
    if connection.is_readonly("main").map_err(|e| translate(OP, &e))? {
        return Err(only_readable(OP));
    }
    // Before anything is written: the file may be somebody else's.
    let version = check(&patiently(|| look(&*connection.unchecked_transaction()?))?)?;
    let mode: String =
        patiently(|| connection.query_row("PRAGMA journal_mode = wal", [], |r| r.get(0)))?;
    if mode != "wal" {
        let message = "this file system cannot keep a database that processes share";
        return Err(Error::new(ErrorKind::Unsupported, OP, message)
            .hint("Use a directory on a local disk."));
    }
    let settings = |c: &Connection| {
        c.pragma_update(None, "synchronous", "full")?;
        c.pragma_update(None, "journal_size_limit", WAL_KEPT)
    };
    settings(&connection).map_err(|e| translate(OP, &e))?;
    if version < MIGRATIONS.len() {
        migrate(&mut connection)?;
    }
    Ok((connection, path))
}

/// One more connection to a file that was opened, for reading only.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Makes the file if it is not there, for its owner only: a plan may hold what is nobody else's
/// business. SQLite gives the files beside it the same mode.
fn make(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Not SQLITE_OPEN_URI: a path is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without this a statement is prepared anew whenever it is given other values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let mut since = Instant::now();
    connection.busy_handler(Some(move |count| {
        if count == 0 {
            since = Instant::now();
        }
        thread::sleep(LOOK_EVERY);
        since.elapsed() < PATIENCE
    }))?;
    Ok(connection)
}

/// Opening asks again where SQLite gives up at once: a change of the journal's mode and the
/// recovery after a crash do not wait for others.
fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> Result<T> {
    let since = Instant::now();
    loop {
        match work() {
            Err(e) if is_busy(&e) && since.elapsed() < PATIENCE => thread::sleep(LOOK_EVERY),
            done => return done.map_err(|e| translate(OP, &e)),
        }
    }
}

/// Within a transaction, so that all three tell of one moment.
fn look(transaction: &Connection) -> rusqlite::Result<Found> {
    let number = |sql| transaction.query_row(sql, [], |r| r.get(0));
    let objects: i64 = number("SELECT count(*) FROM sqlite_master")?;
    let application = number("PRAGMA application_id")?;
    let version: i64 = number("PRAGMA user_version")?;
    // A negative version is nobody's of ours, and as good as a newer one.
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    Ok(Found { application, version, objects: objects.unsigned_abs() })
}

/// The version of a file of ours, 0 for one that is empty.
fn check(found: &Found) -> Result<usize> {
    let empty = found.application == 0 && found.version == 0 && found.objects == 0;
    if !empty && found.application != APPLICATION_ID {
        return Err(Error::new(ErrorKind::Invalid, OP, "the file is another program's database")
            .with("application", format!("{:#010x}", found.application))
            .with("tables", found.objects)
            .hint("Choose another file or data directory."));
    }
    if found.version > MIGRATIONS.len() {
        let message = "a newer version of Kiln wrote this file";
        return Err(Error::new(ErrorKind::Unsupported, OP, message)
            .with("schema", found.version)
            .with("known", MIGRATIONS.len())
            .hint("Use that version, or another data directory."));
    }
    Ok(found.version)
}

fn migrate(connection: &mut Connection) -> Result<()> {
    let wrong = |e| translate(OP, &e);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
    // Again, since another process may have been first.
    let version = check(&look(&transaction).map_err(wrong)?)?;
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration).map_err(wrong)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(wrong)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(wrong)?;
    transaction.commit().map_err(wrong)
}
