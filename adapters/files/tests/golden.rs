//! Logs as earlier versions wrote them, and as this one does.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use bytes::Bytes;
use kiln::{
    BuildId, StepId, Timestamp,
    port::{
        LogBody, LogReader, LogRecord, LogSink, Offset, Progress, ProgressUnit, StepEnd, Stream,
    },
};
use kiln_files::FileLogs;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/log")
}

/// One record of each kind.
fn records() -> Vec<LogRecord> {
    let on = |stream, data: &'static [u8]| LogBody::Bytes { stream, data: Bytes::from(data) };
    let progress = |total, unit| {
        let (item, action) = ("layer \u{1F525}".into(), "Downloading".into());
        LogBody::Progress(Progress { item, action, done: 5, total, unit })
    };
    let bodies = [
        LogBody::Started,
        on(Stream::Stdout, b"hello\n"),
        on(Stream::Stderr, b"\xff\x00\xfe\r\n\x1b[31m half a \xf0\x9f"),
        on(Stream::System, b"x"),
        progress(None, ProgressUnit::Objects),
        progress(Some(7), ProgressUnit::Bytes),
        LogBody::Gap { bytes: 1000, why: "the disk is full \u{1F4BE}".into() },
        LogBody::Ended(StepEnd::Failed),
        LogBody::Started,
        LogBody::Ended(StepEnd::Succeeded),
    ];
    let mut at = Offset(0);
    let record = |(i, body): (usize, LogBody)| {
        let time = Timestamp(1_790_000_000_000 + i as u64);
        let record = LogRecord { at, time, step: StepId(258), attempt: 3, body };
        at = record.end();
        record
    };
    bodies.into_iter().enumerate().map(record).collect()
}

async fn write(logs: &FileLogs, build: &str, close: bool) {
    let (build, records) = (BuildId::new(build).unwrap(), records());
    let (first, second) = records.split_at(4);
    logs.append(&build, Offset(0), first).await.unwrap();
    logs.append(&build, second[0].at, second).await.unwrap();
    if close {
        logs.close(&build).await.unwrap();
    }
}

async fn check(logs: &FileLogs, build: &str, closed: bool) {
    let (build, records) = (BuildId::new(build).unwrap(), records());
    let page = logs.read(&build, Offset(0), 1 << 20, Duration::ZERO).await.unwrap();
    assert_eq!((page.records, page.closed), (records.clone(), closed), "{build}");
    let end = records.last().unwrap().end();
    assert_eq!(logs.end(&build).await.unwrap(), end, "{build}");
    // From inside a record, too.
    let page = logs.read(&build, Offset(3), 4, Duration::ZERO).await.unwrap();
    assert_eq!(page.records, [records[1].clone().tail(Offset(3))], "{build}");
}

/// A copy, since a reader of an old log may bring it up to date.
fn copy(version: &str) -> tempfile::TempDir {
    fn all(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                all(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    all(&golden().join(version), dir.path());
    dir
}

#[test]
fn golden_logs_of_every_version_are_read() {
    kiln_conformance::run("read", async {
        for version in ["v1", "v2"] {
            let dir = copy(version);
            let logs = FileLogs::open(dir.path()).unwrap();
            check(&logs, "closed", true).await;
            check(&logs, "open", false).await;
        }
    });
}

#[test]
fn golden_logs_of_every_version_are_written_on() {
    kiln_conformance::run("write on", async {
        for version in ["v1", "v2"] {
            let dir = copy(version);
            let logs = FileLogs::open(dir.path()).unwrap();
            let (open, closed) = (BuildId::new("open").unwrap(), BuildId::new("closed").unwrap());
            let at = records().last().unwrap().end();
            let more = LogRecord { at, ..records()[1].clone() };
            let refused = logs.append(&closed, at, std::slice::from_ref(&more)).await;
            assert_eq!(refused.unwrap_err().kind(), kiln::ErrorKind::Conflict, "{version}");
            logs.append(&open, at, std::slice::from_ref(&more)).await.unwrap();
            for build in [open, closed] {
                logs.close(&build).await.unwrap();
                let page = logs.read(&build, Offset(0), 1 << 20, Duration::ZERO).await.unwrap();
                let added = usize::from(build.as_str() == "open");
                assert_eq!((page.records.len(), page.closed), (10 + added, true), "{version}");
                logs.forget(&build).await.unwrap();
                assert_eq!(logs.end(&build).await.unwrap(), Offset(0));
            }
            let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
            assert!(left.is_empty(), "{version}: {left:?}");
        }
    });
}

/// What zstd makes of a text may change with its version; the text and the index may not.
fn unpacked(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let mut text = zstd::decode_all(&bytes[..]).unwrap();
    let index = bytes.windows(4).rposition(|w| w == [0x5E, 0x2A, 0x4D, 0x18]).unwrap();
    let mut index = bytes[index..].to_vec();
    // The packed length of the only block, and the sum over it.
    index[16..20].fill(0);
    let sum = index.len() - 12;
    index[sum..sum + 4].fill(0);
    text.extend(index);
    text
}

#[test]
fn golden_logs_are_written_as_they_were() {
    kiln_conformance::run("written", async {
        let dir = tempfile::tempdir().unwrap();
        let logs = FileLogs::open(dir.path()).unwrap();
        write(&logs, "open", false).await;
        write(&logs, "closed", true).await;
        let kept = golden().join("v2");
        let names =
            ["open.log/00000000000000000000.klog", "closed.log/00000000000000000000.klog.zst"];
        for name in names {
            let (new, old) = (dir.path().join(name), kept.join(name));
            if std::env::var_os("KILN_BLESS").is_some() {
                fs::create_dir_all(old.parent().unwrap()).unwrap();
                fs::copy(&new, &old).unwrap();
            }
            match name.ends_with("zst") {
                true => assert_eq!(unpacked(&new), unpacked(&old), "{name}"),
                false => assert_eq!(fs::read(&new).unwrap(), fs::read(&old).unwrap(), "{name}"),
            }
        }
    });
}
