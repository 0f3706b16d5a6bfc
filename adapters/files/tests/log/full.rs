use super::{all, build, record};
use kiln::{
    BuildId, ErrorKind, LogWriter, StepId,
    memory::SystemClock,
    port::{LogBody, LogSink, Offset, Stream},
    redact::Redactor,
};
use kiln_files::FileLogs;
use std::{fs, path::Path, process::Command, sync::Arc};

/// A small file system of its own, as long as it lives.
pub(super) struct Small(tempfile::TempDir);

impl Small {
    /// None where nothing may be mounted.
    pub(super) fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "kiln-test"]).arg(dir.path());
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room that is left but so many bytes; a file to remove gives it back.
    fn fill(&self, but: usize) -> std::path::PathBuf {
        let ballast = self.path().join("ballast");
        let mut bytes = 8 << 20;
        while fs::write(&ballast, vec![1; bytes]).is_err() {
            bytes -= 4096;
        }
        fs::write(&ballast, vec![1; bytes - but]).unwrap();
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn small(name: &str) -> Option<Small> {
    let small = Small::mount();
    if small.is_none() {
        println!("SKIPPED: {name}: kernel: nothing may be mounted here");
    }
    small
}

#[test]
fn an_append_to_a_full_disk_keeps_nothing_and_reading_works() {
    let Some(disk) = small("an_append_to_a_full_disk_keeps_nothing_and_reading_works") else {
        return;
    };
    kiln_conformance::run("full", async {
        let logs = FileLogs::open(disk.path().join("logs")).unwrap();
        let first = record(Offset(0), "before");
        let end = logs.append(&build(), Offset(0), std::slice::from_ref(&first)).await.unwrap();
        let ballast = disk.fill(0);
        // There is room that was taken before; this is more than that.
        let mut batch = vec![];
        let mut at = end;
        for _ in 0..40 {
            batch.push(record(at, vec![b'x'; 60_000]));
            at = batch.last().map_or(at, kiln::port::LogRecord::end);
        }
        let e = logs.append(&build(), end, &batch).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
        assert_eq!(all(&logs).await.unwrap().records, [first]);
        assert_eq!(logs.end(&build()).await.unwrap(), end);
        let other = BuildId::new("other").unwrap();
        let e = logs.append(&other, Offset(0), &[record(Offset(0), "x")]).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
        assert_eq!(logs.end(&other).await.unwrap(), Offset(0));
        fs::remove_file(ballast).unwrap();
        logs.append(&build(), end, &batch).await.unwrap();
        logs.append(&other, Offset(0), &[record(Offset(0), "x")]).await.unwrap();
    });
}

#[test]
fn what_a_full_disk_swallowed_becomes_a_gap_and_the_log_goes_on() {
    let Some(disk) = small("what_a_full_disk_swallowed_becomes_a_gap_and_the_log_goes_on") else {
        return;
    };
    kiln_conformance::run("gap", async {
        let logs = FileLogs::open(disk.path().join("logs")).unwrap();
        let clock = Arc::new(SystemClock::default());
        let sink = Arc::new(logs.clone());
        let writer = LogWriter::new(build(), sink, clock, Redactor::new(), Offset(0));
        let log = writer.step(StepId(3), 1);
        let mut printed = 0;
        let mut print = async |bytes: usize| {
            printed += bytes as u64;
            log.write(Stream::Stdout, &vec![b'x'; bytes]).await;
            writer.flush().await.expect("a full disk ends no build");
        };
        print(1000).await;
        let ballast = disk.fill(100_000);
        for _ in 0..30 {
            print(100_000).await;
        }
        // What is there can be read while there is no room.
        let page = all(&logs).await.unwrap();
        assert!(page.next > Offset(1000) && !page.closed);
        fs::remove_file(ballast).unwrap();
        print(1000).await;
        writer.close().await.unwrap();
        let page = all(&logs).await.unwrap();
        let (mut kept, mut lost) = (0, 0);
        for record in &page.records {
            match &record.body {
                LogBody::Bytes { data, .. } => kept += data.len() as u64,
                LogBody::Gap { bytes, why } => {
                    assert!(*bytes > 0 && why.contains("the disk is full"), "{why}");
                    lost += bytes;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(kept + lost, printed, "{lost} bytes in gaps");
        assert!(lost > 0 && page.closed);
    });
}
