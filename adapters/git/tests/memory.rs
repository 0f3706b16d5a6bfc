//! How much memory a large fetch takes. It makes 300 MB, so it runs only where it is asked for:
//! `cargo test -p kiln-git --test memory -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "suite/repo.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod repo;
#[path = "suite/server.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod server;

use kiln::{BuildId, SourceSpec, StepId, StepKey, port::Source};
use kiln_conformance::step::TestStep;
use kiln_git::{GitConfig, GitSource};
use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Names the repository to the process that fetches: memory is counted for a whole process.
const URL: &str = "KILN_GIT_MEMORY_URL";
const MIB: usize = 1 << 20;
/// 30 files of 10 MiB.
const FILES: usize = 30;
/// How much more than before may be taken: a few files as they are written, and buffers. Pages of
/// the received file, which libgit2 maps, are not counted: the kernel takes them back when it likes.
const MORE_MAX: usize = 48 * MIB;

/// A figure of `/proc/self/status`, in bytes.
fn figure(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Bytes that nothing makes smaller.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..10 * MIB / 8).flat_map(|_| word().to_le_bytes()).collect()
}

#[test]
#[ignore = "long: it makes and fetches 300 MB"]
fn a_large_pack_takes_little_memory() {
    if std::env::var_os(URL).is_some() {
        return;
    }
    kiln_conformance::run("a_large_pack_takes_little_memory", async {
        let repo = repo::Repo::empty();
        for setting in [["core.compression", "0"], ["pack.window", "0"]] {
            repo.git(&["config", setting[0], setting[1]]);
        }
        for i in 0..FILES {
            fs::write(repo.path().join(format!("f{i}")), noise(i as u64 + 1)).unwrap();
        }
        repo.commit("large");
        let server = server::Server::start(server::Rules::serve("r.git", repo.bare())).await;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "the_process_that_fetches", "--nocapture"])
            .env(URL, server.url("r.git"))
            .spawn()
            .unwrap();
        let done = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap();
        assert!(done.unwrap().status.success());
    });
}

#[test]
#[ignore = "long: the other test starts it"]
fn the_process_that_fetches() {
    let Ok(url) = std::env::var(URL) else { return };
    kiln_conformance::run("the_process_that_fetches", async {
        let workspace = tempfile::tempdir().unwrap();
        let key = StepKey { build: BuildId::random(), step: StepId(0), attempt: 1 };
        let step = TestStep::of(key).workspace(workspace.path());
        let config = GitConfig { allow_private_network: true, ..GitConfig::default() };
        let (source, spec) = (GitSource::new(config), SourceSpec::new(url));
        let revision = source.resolve(&step, &spec).await.unwrap();
        let before = figure("RssAnon");
        let is_done = Arc::new(AtomicBool::new(false));
        let watch = std::thread::spawn({
            let is_done = is_done.clone();
            move || {
                let mut most = 0;
                while !is_done.load(Ordering::Relaxed) {
                    most = figure("RssAnon").max(most);
                    std::thread::sleep(Duration::from_millis(2));
                }
                most
            }
        });
        source.fetch(&step, &spec, &revision, &step.path("src")).await.unwrap();
        is_done.store(true, Ordering::Relaxed);
        let most = watch.join().unwrap();
        assert_eq!(fs::metadata(step.path("src/f0")).unwrap().len(), 10 * MIB as u64);
        let all = figure("VmHWM") / MIB;
        println!(
            "before {} MiB, at most {} MiB, with mapped pages {all} MiB",
            before / MIB,
            most / MIB
        );
        assert!(most - before < MORE_MAX, "{} MiB more", (most - before) / MIB);
    });
}
