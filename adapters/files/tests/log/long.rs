use super::{build, bytes, record, segments};
use futures::TryStreamExt;
use kiln::{
    ErrorKind,
    port::{LogReader, LogReaderExt, LogSink, Offset},
};
use kiln_files::FileLogs;
use std::{fs, os::unix::fs::FileExt, path::Path, time::Duration};

const RECORD: usize = 50_000;

/// What stands in the log at an offset: text that packs neither to nothing nor not at all.
fn text(at: u64) -> Vec<u8> {
    let mut x = at | 1;
    let next = move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdef"[(x >> 60) as usize]
    };
    std::iter::repeat_with(next).take(RECORD).collect()
}

/// Writes so many records.
async fn write(logs: &FileLogs, count: usize) -> Offset {
    let mut at = logs.end(&build()).await.unwrap();
    for _ in 0..count {
        at = logs.append(&build(), at, &[record(at, text(at.0))]).await.unwrap();
    }
    at
}

async fn right(logs: &FileLogs, from: Offset) -> kiln::Result<Offset> {
    let page = logs.read(&build(), from, 400_000, Duration::ZERO).await?;
    let read: Vec<u8> = page.records.iter().flat_map(|r| bytes(r).to_vec()).collect();
    let size = RECORD as u64;
    let first = from.0 / size * size;
    let expected: Vec<u8> =
        (first / size..page.next.0 / size).flat_map(|i| text(i * size)).collect();
    assert!(read == expected[(from.0 - first) as usize..], "wrong bytes at {from:?}");
    Ok(page.next)
}

#[test]
fn full_segments_are_packed_while_the_log_is_written_and_all_when_it_is_closed() {
    kiln_conformance::run("long", async {
        let dir = tempfile::tempdir().unwrap();
        let logs = FileLogs::open(dir.path()).unwrap();
        let reader = FileLogs::open(dir.path()).unwrap();
        let (id, of) = (build(), build());
        let follow = tokio::spawn(async move {
            let records: Vec<_> = reader.follow(&of, Offset(0)).try_collect().await.unwrap();
            records.iter().map(|r| bytes(r).len()).sum::<usize>() as u64
        });
        let end = write(&logs, 600).await;
        // Nobody waits for the packing, so it may come a little later.
        while segments(dir.path()).0.len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(segments(dir.path()).1.len(), 3, "{:?}", segments(dir.path()));
        logs.close(&id).await.unwrap();
        let (plain, packed) = segments(dir.path());
        assert_eq!((plain.len(), packed.len()), (0, 4), "{packed:?}");
        assert_eq!(follow.await.unwrap(), end.0);
        assert_eq!(logs.end(&id).await.unwrap(), end);
        for from in (0..end.0).step_by(777_777) {
            right(&logs, Offset(from)).await.unwrap();
        }
    });
}

/// Makes everything in a packed segment unreadable but its last part, where the index is.
fn garble(file: &Path, keep: std::ops::Range<u64>) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    let length = file.metadata().unwrap().len();
    for at in (0..length - 4000).step_by(100).filter(|at| !keep.contains(at)) {
        file.write_all_at(b"garbage", at).unwrap();
    }
}

#[test]
fn a_page_of_a_closed_log_needs_only_the_blocks_it_is_in() {
    kiln_conformance::run("page", async {
        let dir = tempfile::tempdir().unwrap();
        let logs = FileLogs::open(dir.path()).unwrap();
        let end = write(&logs, 500).await;
        logs.close(&build()).await.unwrap();
        let names = segments(dir.path()).1;
        assert_eq!(names.len(), 3);
        let file = |i: usize| dir.path().join("b.log").join(&names[i]);
        // Of the second segment the middle is left, and nothing of the others.
        let length = fs::metadata(file(1)).unwrap().len();
        garble(&file(1), length * 2 / 5..length * 3 / 5);
        garble(&file(0), 0..0);
        garble(&file(2), 0..0);
        let middle = Offset(end.0 / 2 - end.0 % 1000 + 3);
        right(&logs, middle).await.unwrap();
        assert_eq!(logs.end(&build()).await.unwrap(), end, "the end is in the index");
        let e = logs.read(&build(), Offset(0), 1, Duration::ZERO).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        // A segment that is missing is no end of the log.
        fs::remove_file(file(1)).unwrap();
        let second: u64 = names[1].split('.').next().unwrap().parse().unwrap();
        let e = logs.read(&build(), Offset(second), 1, Duration::ZERO).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
    });
}

#[test]
fn an_index_that_lies_is_found_out() {
    kiln_conformance::run("index", async {
        let dir = tempfile::tempdir().unwrap();
        let logs = FileLogs::open(dir.path()).unwrap();
        write(&logs, 20).await;
        logs.close(&build()).await.unwrap();
        let file = dir.path().join("b.log").join(&segments(dir.path()).1[0]);
        let bytes = fs::read(&file).unwrap();
        // Four blocks are in the index.
        for from_end in 1..=8 + 4 * 16 + 28 {
            let mut bent = bytes.clone();
            let at = bytes.len() - from_end;
            bent[at] ^= 0x10;
            fs::write(&file, &bent).unwrap();
            let e = logs.end(&build()).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "byte {from_end} from the end");
            let e = logs.read(&build(), Offset(0), 1, Duration::ZERO).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "byte {from_end} from the end");
        }
        for cut in [0, 1, 27, 28, 100, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&file, &bytes[..cut]).unwrap();
            assert_eq!(logs.end(&build()).await.unwrap_err().kind(), ErrorKind::Corrupt, "{cut}");
        }
    });
}
