//! What steps in a shared shell cost on a real engine: each of many that do nothing, against a line
//! sent to a shell that is attached; a pipeline of 50 with its box, against a container that lives as
//! long as an attached shell takes for 50 lines; and the log of one that prints 1 GiB, in a session
//! and outside of one, against `docker run` attached to a file.
//!
//! The command to compare with is `docker`, or what `KILN_BENCH_DOCKER` names. `KILN_BENCH_RUNS` says
//! how often (5); runs are interleaved, and what counts is the ratio of medians. An argument names one
//! part: `step`, `pipeline` or `log`. Run again as a child it prints one log and tells how that went.

use futures::StreamExt;
use kiln::{
    BoxName, BoxSpec, BuildId, Command as Job, Engine, Event, ImageRef, Op, Plan, Seq, SessionName,
    Step,
    port::{LogBody, LogReaderExt, Offset},
};
use kiln_docker::{DockerClient, DockerConfig, DockerRuntime, HomeId};
use kiln_files::FileLogs;
use kiln_sqlite::SqliteDb;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

const BUSYBOX: &str = "/bin/busybox";
const IMAGE: &str = "kiln-bench/session:1";
/// Steps of a pipeline, and of a measurement of single ones.
const PIPELINE: usize = 50;
const STEPS: usize = 200;
/// What is printed: a file, so often.
const PIECE: usize = 16 << 20;
const PIECES: usize = 64;
/// Set for a child: whether in a session, and the directory.
const CHILD: &str = "KILN_BENCH_SESSION";

fn docker(args: &[&str]) -> Command {
    let mut command = Command::new(docker_name());
    command.args(args);
    command
}

fn docker_name() -> String {
    std::env::var("KILN_BENCH_DOCKER").unwrap_or_else(|_| "docker".into())
}

/// Runs a command of the engine to its end.
fn does(args: &[&str]) {
    let out = docker(args).stdin(Stdio::null()).output().expect("the docker command");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// What is removed in any case: a container, or an image.
struct Ours(Vec<String>);

impl Drop for Ours {
    fn drop(&mut self) {
        let args: Vec<_> = self.0.iter().map(String::as_str).collect();
        if !docker(&args).output().is_ok_and(|out| out.status.success()) {
            println!("warning: left on the engine: {args:?}");
        }
    }
}

fn ours(removal: &[&str]) -> Ours {
    Ours(removal.iter().map(|&word| word.to_owned()).collect())
}

/// An image with busybox and something to print.
fn image(dir: &Path) {
    let line = "2026-11-20T10:00:00Z INFO compiling crate number 17 of 250 with options\n";
    let text: Vec<u8> = line.bytes().cycle().take(PIECE).collect();
    fs::write(dir.join("text"), text).expect("room for a context");
    fs::copy(BUSYBOX, dir.join("busybox")).expect("busybox");
    let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY text /text\n\
                      RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";
    fs::write(dir.join("Dockerfile"), dockerfile).expect("room for a context");
    let path = dir.to_str().expect("a path that is text");
    let mut build = docker(&["build", "-q", "-t", IMAGE, path]);
    let built = build.env("DOCKER_BUILDKIT", "0").output().expect("the docker command");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

fn runtime() -> Arc<DockerRuntime> {
    let config = DockerConfig::from_vars(|name| std::env::var(name).ok()).expect("a legal address");
    let client = DockerClient::new(config).expect("a legal address");
    let home = HomeId::new(BuildId::random().as_str()).expect("a legal name");
    Arc::new(DockerRuntime::new(client, home))
}

/// A box, and steps in it one after the other.
fn plan(jobs: Vec<Job>) -> Plan {
    let mut plan = Plan::builder();
    let shell = BoxName::new("shell").expect("a legal name");
    plan.add_box(shell.clone(), BoxSpec::new(ImageRef::parse(IMAGE).expect("a legal name")));
    let mut last = None;
    for (i, command) in jobs.into_iter().enumerate() {
        let mut step = Step::new(format!("s{i}"), Op::Exec { in_box: shell.clone(), command });
        step.needs.extend(last);
        last = Some(plan.step(step));
    }
    plan.finish().expect("a legal plan")
}

fn in_session(text: &str) -> Job {
    Job::in_session(SessionName::new("main").expect("a legal name"), text)
}

async fn run(engine: &Engine, plan: Plan) -> BuildId {
    let (build, outcome) = engine.run(plan).await.expect("an engine at hand");
    assert_eq!(outcome.word(), "succeeded");
    build
}

/// Milliseconds for each of many steps, from the end of the first to the end of the last.
async fn per_step(engine: &Engine, text: &str) -> f64 {
    let build = run(engine, plan(vec![in_session(text); STEPS + 1])).await;
    let journal = engine.tools().store.load(&build, Seq(0)).await.expect("the store is ours");
    let ends = journal.iter().filter(|r| matches!(r.event, Event::StepSucceeded { .. }));
    let ends: Vec<_> = ends.map(|r| r.at).collect();
    assert_eq!(ends.len(), STEPS + 1);
    ends[STEPS].since(ends[0]).as_secs_f64() * 1e3 / STEPS as f64
}

/// A shell that lines are sent to.
struct Attached {
    child: std::process::Child,
    from: BufReader<std::process::ChildStdout>,
}

impl Attached {
    fn new(args: &[&str]) -> Self {
        let mut command = docker(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the docker command");
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut shell = Self { child, from };
        shell.line("true");
        shell
    }

    fn line(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("a pipe");
        writeln!(input, "{text}; echo MARK $?").expect("the shell reads");
        let mut said = String::new();
        while !said.starts_with("MARK ") {
            said.clear();
            let n = self.from.read_line(&mut said).expect("the shell answers");
            assert!(n > 0, "the shell is gone");
        }
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("a child of ours").success());
    }
}

/// Milliseconds for each of many lines.
fn per_line(container: &str, text: &str) -> f64 {
    let mut shell = Attached::new(&["exec", "-i", container, "sh"]);
    let began = Instant::now();
    for _ in 0..STEPS {
        shell.line(text);
    }
    let took = began.elapsed().as_secs_f64() * 1e3 / STEPS as f64;
    shell.end();
    took
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

async fn steps(dir: &Path, runs: usize) {
    let name = format!("kiln-bench-{}", BuildId::random());
    let _container = ours(&["rm", "-f", "-v", &name]);
    does(&["run", "-d", "--name", &name, IMAGE, "sleep", "86400"]);
    let memory = Engine::builder().runtime(runtime()).build();
    let db = SqliteDb::open(&dir.join("kiln.db")).expect("a fresh directory");
    let sqlite = Engine::builder().runtime(runtime());
    let sqlite = sqlite.store(Arc::new(db.store())).index(Arc::new(db.index())).build();
    for (word, text) in [("silent", "true"), ("printing", "echo hello")] {
        let [mut floor, mut ours, mut durable] = [(); 3].map(|()| Vec::new());
        for _ in 0..runs {
            floor.push(per_line(&name, text));
            ours.push(per_step(&memory, text).await);
            durable.push(per_step(&sqlite, text).await);
        }
        let [floor, ours, durable] = [floor, ours, durable].map(median);
        println!("session {word}: {ours:.2} ms a step, {floor:.2} ms a line to an attached shell");
        println!("session {word}: {durable:.2} ms a step with its journal on this disk");
        println!("promise session_step_{word} {:.2} <= 3 ms-over-a-line", ours - floor);
    }
}

async fn pipeline(runs: usize) {
    let engine = Engine::builder().runtime(runtime()).build();
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let began = Instant::now();
        let mut shell = Attached::new(&["run", "-i", "--rm", IMAGE, "sh"]);
        (1..PIPELINE).for_each(|_| shell.line("true"));
        shell.end();
        floor.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        run(&engine, plan(vec![in_session("true"); PIPELINE])).await;
        ours.push(began.elapsed().as_secs_f64());
    }
    let (floor, ours) = (median(floor), median(ours));
    println!("pipeline: {ours:.2} s, an attached shell with its container {floor:.2} s");
    println!("promise session_pipeline {:.2} <= 1.5 of-an-attached-shell", ours / floor);
}

/// What prints 1 GiB.
fn loud() -> String {
    format!("i=0; while [ $i -lt {PIECES} ]; do cat /text; i=$((i+1)); done")
}

/// What the system says of this process, in kB.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Prints a log and tells how many seconds the step took, and the most memory this process had, in
/// kB. Afterwards the log is counted.
async fn print(dir: &Path, shared: bool) {
    let logs = Arc::new(FileLogs::open(dir.join("logs")).expect("a fresh directory"));
    let engine = Engine::builder().runtime(runtime());
    let engine = engine.log_sink(logs.clone()).log_reader(logs.clone()).build();
    let (first, second) = match shared {
        true => (in_session("true"), in_session(&loud())),
        false => (Job::new(["true"]), Job::script(loud())),
    };
    let build = run(&engine, plan(vec![first, second])).await;
    let peak = peak_kb();
    let journal = engine.tools().store.load(&build, Seq(0)).await.expect("the store is ours");
    let ends = journal.iter().filter(|r| matches!(r.event, Event::StepSucceeded { .. }));
    let ends: Vec<_> = ends.map(|r| r.at).collect();
    let mut records = logs.follow(&build, Offset(0));
    let mut bytes = 0;
    while let Some(record) = records.next().await {
        if let LogBody::Bytes { data, .. } = record.expect("the log is ours").body {
            bytes += data.len();
        }
    }
    assert_eq!(bytes, PIECE * PIECES, "something was lost");
    println!("{} {peak}", ends[1].since(ends[0]).as_secs_f64());
}

/// In a process of its own: seconds, and peak memory in kB.
fn child(dir: &Path, shared: bool) -> [f64; 2] {
    let dir = tempfile::tempdir_in(dir).expect("a directory can be had");
    let program = std::env::current_exe().expect("this program has a path");
    let job = format!("{shared} {}", dir.path().display());
    let out = Command::new(program).env(CHILD, job).stderr(Stdio::inherit()).output();
    let text = String::from_utf8(out.expect("this program runs").stdout).expect("text");
    let mut numbers = text.split_whitespace().map(|n| n.parse().expect("a child tells numbers"));
    [(); 2].map(|()| numbers.next().expect("a child tells two numbers"))
}

fn log(dir: &Path, runs: usize) {
    let (mut file, mut shared, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    let mut peaks = [0.0_f64; 2];
    for _ in 0..runs {
        let path = dir.join("printed");
        let out = File::create(&path).expect("room for a log");
        let began = Instant::now();
        let mut run = docker(&["run", "--rm", IMAGE, "sh", "-c", &loud()]);
        let status = run.stdin(Stdio::null()).stdout(out).status().expect("the docker command");
        file.push(began.elapsed().as_secs_f64());
        assert!(status.success());
        let bytes = fs::metadata(&path).expect("it is ours").len();
        assert_eq!(bytes, (PIECE * PIECES) as u64, "something was lost");
        for (all, (peak, is_shared)) in
            [&mut shared, &mut alone].into_iter().zip(peaks.iter_mut().zip([true, false]))
        {
            let [seconds, kb] = child(dir, is_shared);
            all.push(seconds);
            *peak = peak.max(kb / 1024.0);
        }
    }
    let file = median(file);
    println!("log of 1 GiB: {file:.2} s for `docker run` attached to a file");
    for ((word, all), peak) in [("session", shared), ("alone", alone)].into_iter().zip(peaks) {
        let took = median(all);
        println!("log of 1 GiB, {word}: {took:.2} s");
        println!("promise session_log_{word} {:.2} >= 0.9 of-docker-run", file / took);
        println!("promise session_memory_{word} {peak:.0} <= 48 MiB");
    }
}

#[tokio::main]
async fn main() {
    if let Ok(job) = std::env::var(CHILD) {
        let (shared, dir) = job.split_once(' ').expect("a word and a directory");
        return print(Path::new(dir), shared == "true").await;
    }
    // Only asked for by `cargo bench`; a test run has nothing to compare.
    if !Path::new(BUSYBOX).exists() || docker(&["version"]).output().is_err() {
        println!("SKIPPED: session: it takes /bin/busybox and the docker command");
        return;
    }
    let only = std::env::args().nth(1).filter(|a| !a.starts_with('-'));
    let wants = |part: &str| only.as_deref().is_none_or(|o| o == part);
    let runs = std::env::var("KILN_BENCH_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir().expect("a directory can be had");
    let context = tempfile::tempdir().expect("a directory can be had");
    image(context.path());
    let _image = ours(&["rmi", IMAGE]);
    if wants("step") {
        steps(dir.path(), runs).await;
    }
    if wants("pipeline") {
        pipeline(runs).await;
    }
    if wants("log") {
        log(dir.path(), runs);
    }
}
