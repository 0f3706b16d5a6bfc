use super::{all, build, record};
use kiln::{
    ErrorKind,
    port::{LogReader, LogRecord, LogSink, Offset},
};
use kiln_files::FileLogs;
use std::{fs, ops::Range, path::PathBuf, time::Duration};
use tempfile::TempDir;

struct Written {
    dir: TempDir,
    file: PathBuf,
    bytes: Vec<u8>,
    records: Vec<LogRecord>,
    /// Where the frame of each record stands.
    frames: Vec<Range<usize>>,
}

/// An open log of six records.
async fn written() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let logs = FileLogs::open(dir.path()).unwrap();
    let mut records: Vec<LogRecord> = Vec::new();
    for text in ["first", "second\0\0\0", "a third one", "x", "the one before", "the last one"] {
        let at = records.last().map_or(Offset(0), LogRecord::end);
        records.push(record(at, text));
    }
    for batch in records.chunks(2) {
        logs.append(&build(), batch[0].at, batch).await.unwrap();
    }
    let file = dir.path().join("b.log/00000000000000000000.klog");
    let bytes = fs::read(&file).unwrap();
    let (mut frames, mut at) = (Vec::new(), 8);
    while at < bytes.len() {
        let length = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]) as usize;
        frames.push(at..at + 8 + length);
        at += 8 + length;
    }
    assert_eq!(frames.len(), records.len());
    Written { dir, file, bytes, records, frames }
}

impl Written {
    /// Opens the log with other bytes: just so many records are there, and it can be written on.
    async fn goes_on(&self, bytes: &[u8], kept: usize, what: &str) {
        fs::write(&self.file, bytes).unwrap();
        // Whoever reads before anybody writes sees the same.
        let logs = FileLogs::open(self.dir.path()).unwrap();
        assert_eq!(all(&logs).await.unwrap().records, self.records[..kept], "{what}");
        let end = logs.end(&build()).await.unwrap();
        assert_eq!(end, self.records[..kept].last().map_or(Offset(0), LogRecord::end), "{what}");
        let more = record(end, "and on");
        logs.append(&build(), end, std::slice::from_ref(&more)).await.unwrap();
        let page = all(&FileLogs::open(self.dir.path()).unwrap()).await.unwrap();
        assert_eq!(page.records[..kept], self.records[..kept], "{what}");
        assert_eq!(page.records[kept..], [more], "{what}");
    }
}

#[test]
fn a_log_that_is_cut_anywhere_keeps_its_whole_records_and_goes_on() {
    kiln_conformance::run("cut", async {
        let log = written().await;
        for cut in 0..log.bytes.len() {
            let kept = log.frames.iter().filter(|frame| frame.end <= cut).count();
            log.goes_on(&log.bytes[..cut], kept, &format!("cut at byte {cut}")).await;
        }
    });
}

#[test]
fn what_never_reached_the_disk_is_cut_off() {
    kiln_conformance::run("zeros", async {
        let log = written().await;
        for from in [log.frames[4].start, log.frames[5].start, log.frames[5].start + 3] {
            let kept = log.frames.iter().filter(|frame| frame.end <= from).count();
            for more in [0, 1, 100_000] {
                let mut bytes = log.bytes.clone();
                bytes[from..].fill(0);
                bytes.resize(bytes.len() + more, 0);
                log.goes_on(&bytes, kept, &format!("{more} zeros after byte {from}")).await;
            }
        }
    });
}

#[test]
fn damage_is_told_and_cut_off_nowhere() {
    kiln_conformance::run("damage", async {
        let log = written().await;
        for (i, frame) in log.frames.iter().enumerate() {
            for byte in frame.clone() {
                let mut bytes = log.bytes.clone();
                bytes[byte] ^= 0x40;
                fs::write(&log.file, &bytes).unwrap();
                let what = format!("byte {byte} of frame {i}");
                let logs = FileLogs::open(log.dir.path()).unwrap();
                let mut at = Offset(0);
                if i > 0 {
                    let page = all(&logs).await.unwrap();
                    assert_eq!(page.records, log.records[..i], "{what}");
                    at = page.next;
                }
                let patience = Duration::ZERO;
                let e = logs.read(&build(), at, 1 << 20, patience).await.expect_err(&what);
                assert_eq!(e.kind(), ErrorKind::Corrupt, "{what}: {e:?}");
                assert!(format!("{e:?}").contains(&format!("offset: {}", at.0)), "{what}: {e:?}");
                let e = logs.end(&build()).await.expect_err(&what);
                assert_eq!(e.kind(), ErrorKind::Corrupt, "{what}: {e:?}");
                let end = log.records.last().unwrap().end();
                let late = logs.append(&build(), end, &[record(end, "late")]).await;
                assert_eq!(late.unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
                assert_eq!(fs::read(&log.file).unwrap(), bytes, "{what}: it was changed");
            }
        }
        let logs = FileLogs::open(log.dir.path()).unwrap();
        logs.forget(&build()).await.unwrap();
        assert_eq!(logs.end(&build()).await.unwrap(), Offset(0));
    });
}

#[test]
fn what_is_no_log_and_what_is_newer_are_told_apart() {
    kiln_conformance::run("other", async {
        let log = written().await;
        for (header, kind) in
            [(b"KILNLOG9", ErrorKind::Unsupported), (b"#!/bin/s", ErrorKind::Corrupt)]
        {
            let mut bytes = log.bytes.clone();
            bytes[..8].copy_from_slice(header);
            fs::write(&log.file, &bytes).unwrap();
            let logs = FileLogs::open(log.dir.path()).unwrap();
            assert_eq!(all(&logs).await.unwrap_err().kind(), kind);
            assert_eq!(logs.end(&build()).await.unwrap_err().kind(), kind);
        }
    });
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(150))]

    /// Whatever happened to the bytes of a segment, plain or packed: no panic, and what can be
    /// read is what was written.
    #[test]
    fn no_bytes_make_it_panic_or_lie(
        packed: bool,
        edits in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0..5_u8, 0..=255_u8), 1..4),
    ) {
        kiln_conformance::run("any bytes", async move {
            let log = written().await;
            let mut file = log.file.clone();
            if packed {
                let logs = FileLogs::open(log.dir.path()).unwrap();
                logs.close(&build()).await.unwrap();
                file.set_extension("klog.zst");
            }
            let mut bytes = fs::read(&file).unwrap();
            for (at, what, byte) in edits {
                let at = at.index(bytes.len() + 1);
                match what {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, byte),
                    2 if at < bytes.len() => drop(bytes.remove(at)),
                    3 => bytes.extend_from_within(at..),
                    _ if at < bytes.len() => bytes[at] = byte,
                    _ => {}
                }
            }
            fs::write(&file, &bytes).unwrap();
            let logs = FileLogs::open(log.dir.path()).unwrap();
            let typed = |e: kiln::Error| {
                let typed = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Invalid];
                assert!(typed.contains(&e.kind()), "{e:?}");
            };
            match all(&logs).await {
                Ok(page) => assert!(log.records.starts_with(&page.records), "{page:?}"),
                Err(e) => typed(e),
            }
            match logs.end(&build()).await {
                Ok(end) => {
                    let late = record(end, "late");
                    match logs.append(&build(), end, &[late]).await {
                        Err(e) if e.kind() == ErrorKind::Conflict => {}
                        Err(e) => typed(e),
                        Ok(_) => drop(all(&logs).await.unwrap()),
                    }
                }
                Err(e) => typed(e),
            }
        });
    }
}
