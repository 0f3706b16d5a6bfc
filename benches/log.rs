//! How fast logs are kept in files, through the redactor, and in how much memory; and what a page
//! of a closed log costs. Run again as a child it writes one log and tells how that went.

use kiln::{
    BuildId, LogWriter, Secret, StepId,
    memory::SystemClock,
    port::{Clock, LogReader, Offset, Stream},
    redact::Redactor,
};
use kiln_files::FileLogs;
use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// Set for a child: megabytes and the directory.
const CHILD: &str = "KILN_BENCH_LOG";

fn build() -> BuildId {
    BuildId::new("b").expect("a legal name")
}

/// Writes a log of so many bytes; returns how long it took, without closing it.
async fn write(logs: &FileLogs, bytes: usize) -> Duration {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let redactor = Redactor::new();
    for i in 0..10 {
        redactor.add(&Secret::new(format!("a-secret-of-some-length-{i}")));
    }
    let writer = LogWriter::new(build(), Arc::new(logs.clone()), clock, redactor, Offset(0));
    let line = b"2026-11-20T10:00:00Z INFO compiling crate number 17 of 250 with some options\n";
    let piece: Vec<u8> = line.iter().copied().cycle().take(64 * 1024).collect();
    let log = writer.step(StepId(0), 1);
    let began = Instant::now();
    let print = async {
        for _ in 0..bytes / piece.len() {
            log.write(Stream::Stdout, &piece).await;
        }
        writer.drained().await;
    };
    tokio::select! {
        _ = writer.pump() => {}
        () = print => {}
    }
    let took = began.elapsed();
    writer.close().await.expect("the log is ours");
    took
}

/// What the system says of this process, in kB.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Seconds of processor time of this process.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Of user and system, in hundredths.
    fields.skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// In a process of its own: megabytes per second, peak memory in kB, and nanoseconds of processor
/// time per byte.
fn child(dir: &Path, megabytes: usize) -> [f64; 3] {
    let program = std::env::current_exe().expect("this program has a path");
    let job = format!("{megabytes} {}", dir.display());
    let out = Command::new(program).env(CHILD, job).output().expect("this program runs");
    let text = String::from_utf8_lossy(&out.stdout);
    let mut numbers = text.split_whitespace().map(|n| n.parse().expect("a child tells numbers"));
    [(); 3].map(|()| numbers.next().expect("a child tells three numbers"))
}

/// Milliseconds to read a page of a megabyte from an offset on; the best of some.
async fn page(logs: &FileLogs, from: u64) -> f64 {
    let mut best = f64::MAX;
    for i in 0..20 {
        let began = Instant::now();
        let at = Offset(from + i);
        let page = logs.read(&build(), at, 1 << 20, Duration::ZERO).await.expect("the log is ours");
        assert!(!page.records.is_empty());
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
    }
    best
}

#[tokio::main]
async fn main() {
    if let Ok(job) = std::env::var(CHILD) {
        let (megabytes, dir) = job.split_once(' ').expect("a number and a directory");
        let bytes = megabytes.parse::<usize>().expect("a number") << 20;
        let took = write(&FileLogs::open(dir).expect("a fresh directory"), bytes).await;
        let rate = bytes as f64 / took.as_secs_f64() / 1e6;
        println!("{rate} {} {}", peak_kb(), cpu_s() * 1e9 / bytes as f64);
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut rates: Vec<_> = (0..5).map(|i| child(&dir.path().join(i.to_string()), 512)).collect();
    rates.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let cpu = rates[2][2];
    println!("log: {cpu:.1} ns of processor time per byte, with packing and closing");
    println!("promise log_throughput {:.0} >= 300 MB/s", rates[2][0]);
    let long = dir.path().join("long");
    let [rate, peak, _] = child(&long, 2048);
    println!("log: 2 GiB at {rate:.0} MB/s");
    println!("promise log_memory {:.0} <= 48 MiB", peak / 1024.0);
    let logs = FileLogs::open(&long).expect("the directory of the child");
    let (first, last) = (page(&logs, 0).await, page(&logs, 2047 << 20).await);
    println!("log: a page of 1 MiB takes {first:.2} ms at the beginning of 2 GiB");
    println!("promise log_page {:.1} <= 2 of-the-first-page", last / first);
}
