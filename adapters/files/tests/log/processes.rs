//! Several processes at one log. A child is this program, run again with one test and a job.

use super::{all, build, bytes, record};
use kiln::{
    ErrorKind,
    port::{LogReader, LogRecord, LogSink, Offset},
};
use kiln_files::FileLogs;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const JOB: &str = "KILN_TEST_LOG_JOB";

fn child(dir: &Path, job: &str) -> Child {
    start(Command::new(std::env::current_exe().unwrap()), dir, job)
}

fn start(mut program: Command, dir: &Path, job: &str) -> Child {
    program
        .args(["--exact", "processes::what_a_child_does", "--nocapture"])
        .env(JOB, format!("{job} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The work of a child; nothing in an ordinary run.
#[test]
fn what_a_child_does() {
    let Ok(job) = std::env::var(JOB) else { return };
    let (job, dir) = job.split_once(' ').unwrap();
    let (job, dir) = (job.to_owned(), PathBuf::from(dir));
    kiln_conformance::run("child", async move {
        let logs = FileLogs::open(&dir).unwrap();
        match job.as_str() {
            "endless" => endless(&logs).await,
            "limited" => limited(&logs).await,
            mark => contend(&logs, mark).await,
        }
    });
}

/// Appends for ever, and says after each append where the log ends.
async fn endless(logs: &FileLogs) {
    let mut at = logs.end(&build()).await.unwrap();
    loop {
        let batch = batch(at);
        at = logs.append(&build(), at, &batch).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "kept {}", at.0).and_then(|()| out.flush()).unwrap();
    }
}

/// Records whose size and bytes follow from where they stand.
fn batch(at: Offset) -> Vec<LogRecord> {
    let mut records: Vec<LogRecord> = Vec::new();
    for _ in 0..1 + at.0 % 4 {
        let at = records.last().map_or(at, LogRecord::end);
        let length = 1 + (at.0.wrapping_mul(2_654_435_761) >> 7) as usize % 60_000;
        records.push(record(at, vec![at.0 as u8; length]));
    }
    records
}

/// So many are enough, and on a slow machine fewer are.
const ROUNDS: u64 = 16;
const TIME_MAX: Duration = Duration::from_secs(20);

#[test]
fn a_writer_that_is_killed_loses_nothing_that_it_was_told_is_kept() {
    kiln_conformance::run("killed", async {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, mut seen) = (0, 0);
        let began = Instant::now();
        for round in 0..ROUNDS {
            let mut child = child(dir.path(), "endless");
            let out = BufReader::new(child.stdout.take().unwrap());
            let id = child.id();
            let (begun, begins) = std::sync::mpsc::channel();
            let killer = std::thread::spawn(move || {
                // However long it takes to begin; if it ended by itself, nobody tells.
                let _ = begins.recv();
                std::thread::sleep(Duration::from_millis(40 + round * 37 % 90));
                child.kill().unwrap();
                child.wait().unwrap();
            });
            for line in out.lines() {
                let line = line.unwrap();
                // A line that was cut off by the kill says less than is kept.
                if let Some(end) = line.strip_prefix("kept ").and_then(|n| n.parse().ok()) {
                    kept = kept.max(end);
                    // Only the first is waited for.
                    let _ = begun.send(());
                }
            }
            drop(begun);
            killer.join().unwrap();
            let logs = FileLogs::open(dir.path()).unwrap();
            let end = logs.end(&build()).await.unwrap();
            assert!(end.0 >= kept, "{kept} bytes were kept, {end:?} are there ({id})");
            let last = round + 1 == ROUNDS || began.elapsed() > TIME_MAX;
            // What was right before is looked at again when all is over.
            let mut at = if last { Offset(0) } else { Offset(seen) };
            while at < end {
                let page = logs.read(&build(), at, 1 << 20, Duration::ZERO).await.unwrap();
                for record in &page.records {
                    assert_eq!(record.at, at);
                    assert!(bytes(record).iter().all(|b| *b == at.0 as u8), "wrong at {at:?}");
                    at = record.end();
                }
            }
            (kept, seen) = (end.0, end.0);
            if last {
                break;
            }
        }
        assert!(kept > 0, "the rounds were too short");
        FileLogs::open(dir.path()).unwrap().close(&build()).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path().join("b.log")).unwrap().collect();
        let stale = |e: &std::io::Result<std::fs::DirEntry>| {
            e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')
        };
        assert!(!left.iter().any(stale), "{left:?}");
    });
}

const TURNS: usize = 400;

/// Appends its mark so many times, each time where the log ends.
async fn contend(logs: &FileLogs, mark: &str) {
    let mut turns = 0;
    while turns < TURNS {
        let at = logs.end(&build()).await.unwrap();
        let text = format!("{mark}{turns:03}").repeat(if turns % 50 == 0 { 10_000 } else { 10 });
        match logs.append(&build(), at, &[record(at, text)]).await {
            Ok(_) => turns += 1,
            Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e:?}"),
        }
    }
}

#[test]
fn of_processes_that_append_at_one_place_one_is_kept() {
    kiln_conformance::run("contend", async {
        let dir = tempfile::tempdir().unwrap();
        let marks = ["a", "b", "c"];
        let children = marks.map(|mark| child(dir.path(), mark));
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let page = all(&FileLogs::open(dir.path()).unwrap()).await.unwrap();
        let mut at = Offset(0);
        for record in &page.records {
            assert_eq!(record.at, at);
            at = record.end();
        }
        assert_eq!(page.records.len(), marks.len() * TURNS);
        for mark in marks {
            let of = page.records.iter().filter(|r| bytes(r).starts_with(mark.as_bytes()));
            let turns: Vec<_> = of
                .map(|r| std::str::from_utf8(&bytes(r)[1..4]).unwrap().parse::<usize>().unwrap())
                .collect();
            assert!(turns.iter().copied().eq(0..TURNS), "{mark}: {turns:?}");
        }
    });
}

/// Appends more than a file of this process may hold.
async fn limited(logs: &FileLogs) {
    let (mut written, mut at) = (Vec::new(), Offset(0));
    let e = loop {
        let batch: Vec<_> =
            (0..5).map(|i| record(Offset(at.0 + i * 60_000), vec![i as u8; 60_000])).collect();
        match logs.append(&build(), at, &batch).await {
            Ok(end) => at = end,
            Err(e) => break e,
        }
        written.extend(batch);
    };
    assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
    // The part of the batch that had room is not there.
    assert_eq!(logs.end(&build()).await.unwrap(), at);
    let page = all(logs).await.unwrap();
    assert!(!written.is_empty() && page.records == written);
    let small = record(at, "what has room");
    at = logs.append(&build(), at, std::slice::from_ref(&small)).await.unwrap();
    assert_eq!(all(logs).await.unwrap().records.last(), Some(&small));
    println!("kept {}", at.0);
}

#[test]
fn a_batch_that_has_room_only_in_part_is_not_kept() {
    kiln_conformance::run("limited", async {
        let dir = tempfile::tempdir().unwrap();
        // A shell sets the limit, and lets the signal that goes with it be ignored.
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$@\"", "sh"]);
        shell.arg(std::env::current_exe().unwrap());
        let done = start(shell, dir.path(), "limited").wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{out}");
        let kept = out.lines().find_map(|line| line.strip_prefix("kept ")).unwrap();
        let logs = FileLogs::open(dir.path()).unwrap();
        assert_eq!(logs.end(&build()).await.unwrap().0.to_string(), kept);
    });
}
