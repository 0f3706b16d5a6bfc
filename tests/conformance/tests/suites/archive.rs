//! Logs that move into an archive keep the promises of logs, wherever the move stops.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use kiln::{
    Artifact, BuildId, Error, ErrorKind, Result, StepId, Timestamp,
    archive::ArchivedLogs,
    memory::{MemoryArtifacts, MemoryLog, VirtualClock},
    port::{
        ArtifactKey, ArtifactStore, ByteStream, LogBody, LogPage, LogReader, LogReaderExt,
        LogRecord, LogSink, Offset, Progress, ProgressUnit, RECORD_BYTES_MAX, StepEnd, Stream,
    },
};
use kiln_conformance::{Fresh, log::AtClose, poll_times, sample::build};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

mod log {
    use super::*;

    fn fresh() -> Fresh<AtClose> {
        let clock = VirtualClock::at(Timestamp(1_000_000));
        let hot = Arc::new(MemoryLog::with_clock(Arc::new(clock.clone())));
        let archive = Arc::new(MemoryArtifacts::default());
        let logs = ArchivedLogs::new(hot.clone(), hot, archive);
        Fresh::new(Arc::new(AtClose(logs))).time(clock.into())
    }
    kiln_conformance::log_suite!(fresh());
}

/// An archive that fails after so many calls, and knows how often it was asked for what.
#[derive(Debug)]
struct Weak {
    store: MemoryArtifacts,
    left: AtomicUsize,
    gets: AtomicUsize,
}

impl Weak {
    fn call(&self) -> Result<()> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        let down = || Error::new(ErrorKind::Unavailable, "test", "the archive is away");
        left.map(drop).map_err(|_| down())
    }

    fn allow(&self, calls: usize) {
        self.left.store(calls, Ordering::SeqCst);
    }
}

#[async_trait]
impl ArtifactStore for Weak {
    async fn put(&self, key: &ArtifactKey, body: ByteStream) -> Result<Artifact> {
        self.call()?;
        self.store.put(key, body).await
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        self.call()?;
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.store.get(key).await
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        self.store.list(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.call()?;
        self.store.forget(build).await
    }

    async fn caches(&self) -> Result<Vec<BuildId>> {
        self.store.caches().await
    }
}

/// Logs over memory, the log below them and their archive.
fn weak() -> (Arc<ArchivedLogs>, Arc<MemoryLog>, Arc<Weak>) {
    let hot = Arc::new(MemoryLog::default());
    let archive = Arc::new(Weak {
        store: MemoryArtifacts::default(),
        left: AtomicUsize::new(usize::MAX),
        gets: AtomicUsize::default(),
    });
    let logs = ArchivedLogs::new(hot.clone(), hot.clone(), archive.clone());
    (Arc::new(logs), hot, archive)
}

fn record(at: Offset, body: LogBody) -> LogRecord {
    LogRecord { at, time: Timestamp(7), step: StepId(1), attempt: 2, body }
}

/// Writes so many records of the greatest length, each of its own bytes, and closes the log.
async fn write(logs: &impl LogSink, b: &BuildId, count: u64) {
    let mut at = Offset(0);
    for i in 0..count {
        let data = Bytes::from(vec![i as u8; RECORD_BYTES_MAX]);
        let body = LogBody::Bytes { stream: Stream::Stdout, data };
        at = logs.append(b, at, &[record(at, body)]).await.expect("an append at the end");
    }
    logs.close(b).await.expect("a log that is ours");
}

async fn all(logs: &impl LogReader, b: &BuildId) -> Vec<LogRecord> {
    logs.follow(b, Offset(0)).try_collect().await.expect("a whole log")
}

async fn page(logs: &impl LogReader, b: &BuildId, from: u64) -> Result<LogPage> {
    logs.read(b, Offset(from), 1000, Duration::ZERO).await
}

const LONG: u64 = 300;

#[test]
fn a_move_that_stops_anywhere_loses_nothing_and_goes_on() {
    kiln_conformance::run("stops", async {
        for calls in 0..5 {
            let (logs, hot, archive) = weak();
            let b = build("b");
            write(&*logs, &b, LONG).await;
            let written = all(&*hot, &b).await;
            archive.allow(calls);
            let e = logs.archive(&b).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
            assert!(hot.end(&b).await.unwrap().0 > 0, "it was forgotten after {calls} calls");
            archive.allow(usize::MAX);
            assert!(all(&*logs, &b).await == written, "after {calls} calls");
            logs.archive(&b).await.unwrap();
            assert_eq!(hot.end(&b).await.unwrap(), Offset(0));
            assert!(all(&*logs, &b).await == written, "after {calls} calls and a move");
            logs.archive(&b).await.unwrap();
        }
        // A look, three segments, the manifest: all of them were tried.
        let (logs, _, archive) = weak();
        write(&*logs, &build("b"), LONG).await;
        archive.allow(5);
        assert_eq!(logs.archive(&build("b")).await.err().map(|e| e.kind()), None);
    });
}

#[test]
fn a_move_that_is_cancelled_anywhere_loses_nothing() {
    kiln_conformance::run("cancelled", async {
        let (logs, _, _) = weak();
        for polls in 0..8 {
            let b = build(&format!("b{polls}"));
            write(&*logs, &b, 20).await;
            let written = all(&*logs, &b).await;
            poll_times(logs.archive(&b), polls).await;
            assert!(all(&*logs, &b).await == written);
            logs.archive(&b).await.unwrap();
            assert!(all(&*logs, &b).await == written);
        }
    });
}

#[test]
fn a_move_that_stopped_before_the_end_of_it_is_finished() {
    kiln_conformance::run("finished", async {
        let (logs, hot, archive) = weak();
        let b = build("b");
        write(&*logs, &b, 3).await;
        let written = all(&*hot, &b).await;
        logs.archive(&b).await.unwrap();
        // As if the log had never been forgotten where it was written.
        for record in &written {
            hot.append(&b, record.at, std::slice::from_ref(record)).await.unwrap();
        }
        hot.close(&b).await.unwrap();
        let again = ArchivedLogs::new(hot.clone(), hot.clone(), archive);
        assert_eq!(all(&again, &b).await, written);
        again.archive(&b).await.unwrap();
        assert_eq!(hot.end(&b).await.unwrap(), Offset(0));
        assert_eq!(all(&again, &b).await, written);
    });
}

#[test]
fn what_is_out_of_reach_is_told_and_live_logs_go_on() {
    kiln_conformance::run("reach", async {
        let (logs, _, archive) = weak();
        let (live, old, new) = (build("live"), build("old"), build("new"));
        write(&*logs, &old, 2).await;
        logs.archive(&old).await.unwrap();
        let hello = |at| {
            let data = Bytes::from("hello");
            [record(at, LogBody::Bytes { stream: Stream::Stdout, data })]
        };
        logs.append(&live, Offset(0), &hello(Offset(0))).await.unwrap();
        let fresh = ArchivedLogs::new(logs.clone(), logs.clone(), archive.clone());
        archive.allow(0);
        let e = page(&fresh, &old, 0).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert_eq!(page(&fresh, &old, 7).await.unwrap_err().kind(), ErrorKind::Unavailable);
        for b in [&live, &new] {
            let end = fresh.end(b).await.unwrap();
            let end = fresh.append(b, end, &hello(end)).await.unwrap();
            assert_eq!(page(&fresh, b, 0).await.unwrap().next, end);
            fresh.close(b).await.unwrap();
            assert!(page(&fresh, b, end.0).await.unwrap().closed);
        }
        let e = fresh.archive(&live).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
    });
}

#[test]
fn an_open_log_stays() {
    kiln_conformance::run("open", async {
        let (logs, hot, archive) = weak();
        let b = build("b");
        hot.append(&b, Offset(0), &[record(Offset(0), LogBody::Started)]).await.unwrap();
        for b in [b, build("never")] {
            assert_eq!(logs.archive(&b).await.unwrap_err().kind(), ErrorKind::Conflict);
        }
        assert_eq!(hot.end(&build("b")).await.unwrap(), Offset(1));
        archive.allow(1);
        assert_eq!(page(&*logs, &build("b"), 0).await.unwrap().records.len(), 1);
    });
}

#[test]
fn readers_go_on_while_a_log_moves_under_them() {
    kiln_conformance::run("readers", async {
        let (logs, _, _) = weak();
        let b = build("b");
        let readers: Vec<_> = (0..20)
            .map(|_| {
                let (logs, b) = (logs.clone(), b.clone());
                tokio::spawn(async move { all(&*logs, &b).await })
            })
            .collect();
        write(&*logs, &b, LONG).await;
        logs.archive(&b).await.unwrap();
        let written = all(&*logs, &b).await;
        assert_eq!(written.len() as u64, LONG);
        for reader in readers {
            assert!(reader.await.unwrap() == written);
        }
    });
}

#[test]
fn a_page_needs_one_segment_and_the_next_page_no_other() {
    kiln_conformance::run("segments", async {
        let (logs, hot, archive) = weak();
        let b = build("b");
        write(&*logs, &b, LONG).await;
        logs.archive(&b).await.unwrap();
        let again = ArchivedLogs::new(hot.clone(), hot, archive.clone());
        archive.gets.store(0, Ordering::SeqCst);
        let far = (LONG - 10) * RECORD_BYTES_MAX as u64;
        for i in 0..100 {
            let page = page(&again, &b, far + i).await.unwrap();
            assert_eq!(page.records[0].at, Offset(far + i));
        }
        assert_eq!(archive.gets.load(Ordering::SeqCst), 2, "the manifest and one segment");
    });
}

/// The keys of the archive of the build `b`, by their build.
fn shelf() -> BuildId {
    let hash = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c";
    build(&format!("log.{hash}"))
}

#[test]
fn the_archive_shows_among_no_artifacts_and_is_forgotten_with_the_log() {
    kiln_conformance::run("shows", async {
        let (logs, _, archive) = weak();
        let b = build("b");
        write(&*logs, &b, 2).await;
        logs.archive(&b).await.unwrap();
        assert_eq!(archive.list(&b).await.unwrap(), []);
        assert_eq!(archive.list(&shelf()).await.unwrap().len(), 2);
        logs.forget(&b).await.unwrap();
        assert_eq!(archive.list(&shelf()).await.unwrap(), []);
        assert_eq!(page(&*logs, &b, 0).await.unwrap().next, Offset(0));
    });
}

#[test]
fn an_archive_that_changed_is_corrupt() {
    kiln_conformance::run("changed", async {
        for damage in ["manifest", "segments/00000000000000000000"] {
            let (logs, hot, archive) = weak();
            let b = build("b");
            write(&*logs, &b, 2).await;
            logs.archive(&b).await.unwrap();
            let again = ArchivedLogs::new(hot.clone(), hot, archive.clone());
            let name = kiln::RelPath::new(damage).unwrap();
            let key = ArtifactKey { build: shelf(), name };
            let pieces: Vec<Bytes> = archive.get(&key).await.unwrap().try_collect().await.unwrap();
            let mut bytes = pieces.concat();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            let body = futures::stream::iter([Ok(Bytes::from(bytes))]);
            archive.put(&key, Box::pin(body)).await.unwrap();
            let e = page(&again, &b, 0).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{e:?}");
        }
    });
}

#[test]
fn golden_archives_are_written_as_they_were_and_read() {
    kiln_conformance::run("golden", async {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/archive/v1");
        let (logs, hot, archive) = weak();
        let b = build("b");
        let progress = Progress {
            item: "layer".into(),
            action: "Pulling".into(),
            done: 3,
            total: Some(4),
            unit: ProgressUnit::Bytes,
        };
        let bytes = |stream, data: &'static [u8]| LogBody::Bytes { stream, data: data.into() };
        let bodies = [
            LogBody::Started,
            bytes(Stream::Stdout, b"plain\n"),
            bytes(Stream::Stderr, b"\xff\x00"),
            bytes(Stream::System, b"x"),
            LogBody::Progress(progress),
            LogBody::Gap { bytes: 9, why: "full".into() },
            LogBody::Ended(StepEnd::Failed),
            LogBody::Ended(StepEnd::Succeeded),
        ];
        let mut at = Offset(0);
        for body in bodies {
            at = logs.append(&b, at, &[record(at, body)]).await.unwrap();
        }
        logs.close(&b).await.unwrap();
        let written = all(&*logs, &b).await;
        logs.archive(&b).await.unwrap();
        for name in ["manifest", "segments/00000000000000000000"] {
            let name = kiln::RelPath::new(name).unwrap();
            let key = ArtifactKey { build: shelf(), name: name.clone() };
            let pieces: Vec<Bytes> = archive.get(&key).await.unwrap().try_collect().await.unwrap();
            let file = name.below(&golden);
            if std::env::var_os("KILN_BLESS").is_some() {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, pieces.concat()).unwrap();
            }
            let old = fs::read(&file).unwrap();
            assert!(pieces.concat() == old, "{name}");
            let body = futures::stream::iter([Ok(Bytes::from(old))]);
            archive.put(&key, Box::pin(body)).await.unwrap();
        }
        let again = ArchivedLogs::new(hot.clone(), hot, archive);
        assert_eq!(all(&again, &b).await, written);
    });
}
