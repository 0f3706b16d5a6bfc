//! How fast journals and logs are kept: SQLite with durability on, against the same statements
//! without Kiln; and logs into files through the redactor.

use kiln::{
    BuildId, Event, LogWriter, NodeId, Op, Plan, Secret, Seq, Step, StepId, Timestamp,
    memory::SystemClock,
    port::{Clock, Entry, Offset, Store, Stream},
    redact::Redactor,
};
use kiln_files::FileLogs;
use kiln_sqlite::SqliteDb;
use std::{path::Path, sync::Arc, time::Instant};

const APPENDS: u64 = 300;

fn accepted() -> Event {
    let source = kiln::SourceSpec::new("https://example.com/app.git");
    let fetch = Op::Fetch { source, into: kiln::RelPath::root() };
    Event::Accepted {
        plan: Plan::new(vec![Step::new("fetch", fetch)]).expect("a legal plan"),
        owner: kiln::Owner::local(),
        labels: Default::default(),
    }
}

/// Journal appends per second.
async fn journal(dir: &Path) -> f64 {
    let store = SqliteDb::open(&dir.join("kiln.db")).expect("a fresh directory").store();
    let build = BuildId::random();
    let adopted = Event::Adopted {
        driver: kiln::DriverId::random(),
        node: NodeId::new("n").expect("a legal name"),
        kept: vec![],
    };
    let began = Instant::now();
    for i in 0..APPENDS {
        let event = if i == 0 { accepted() } else { adopted.clone() };
        let entry = Entry { at: Timestamp(i), event };
        store.append(&build, Seq(i), &[entry]).await.expect("the journal is ours");
    }
    APPENDS as f64 / began.elapsed().as_secs_f64()
}

/// The same rows, inserted and committed one by one without Kiln.
fn raw(dir: &Path) -> f64 {
    let db = rusqlite::Connection::open(dir.join("raw.db")).expect("a fresh directory");
    db.pragma_update(None, "journal_mode", "wal").expect("a fresh file");
    db.pragma_update(None, "synchronous", "full").expect("a fresh file");
    db.execute_batch("CREATE TABLE event (build TEXT, seq INTEGER, at INTEGER, event TEXT, PRIMARY KEY (build, seq)) WITHOUT ROWID")
        .expect("a fresh file");
    let began = Instant::now();
    for i in 0..APPENDS {
        let sql = "INSERT INTO event VALUES ('b', ?1, ?1, '{\"event\":\"adopted\",\"driver\":\"d\",\"node\":\"n\"}')";
        db.prepare_cached(sql).and_then(|mut s| s.execute([i])).expect("a fresh row");
    }
    APPENDS as f64 / began.elapsed().as_secs_f64()
}

/// Bytes per second of log into files, through the redactor.
async fn log(dir: &Path) -> f64 {
    const BYTES: usize = 512 << 20;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let redactor = Redactor::new();
    for i in 0..10 {
        redactor.add(&Secret::new(format!("a-secret-of-some-length-{i}")));
    }
    let sink = Arc::new(FileLogs::open(dir.join("logs")).expect("a fresh directory"));
    let writer = LogWriter::new(BuildId::random(), sink, clock, redactor, Offset(0));
    let line = b"2026-11-20T10:00:00Z INFO compiling crate number 17 of 250 with some options\n";
    let piece: Vec<u8> = line.iter().copied().cycle().take(64 * 1024).collect();
    let log = writer.step(StepId(0), 1);
    let began = Instant::now();
    let write = async {
        for _ in 0..BYTES / piece.len() {
            log.write(Stream::Stdout, &piece).await;
        }
        writer.drained().await;
    };
    tokio::select! {
        _ = writer.pump() => {}
        () = write => {}
    }
    BYTES as f64 / began.elapsed().as_secs_f64() / 1e6
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (ours, bare) = (journal(dir.path()).await, raw(dir.path()));
    println!("journal: {ours:.0} appends per second, {bare:.0} without Kiln");
    println!("promise journal_ratio {:.2} >= 0.5 of-raw-sqlite", ours / bare);
    println!("promise log_throughput {:.0} >= 300 MB/s", log(dir.path()).await);
}
