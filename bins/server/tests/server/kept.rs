//! What is kept, and what is forgotten.

use super::{SUBMIT, Server, settings, status, stores::finished};
use kiln::port::ArtifactStore;
use std::{path::Path, process::Command, time::Duration};

#[test]
fn builds_are_forgotten_as_the_settings_say() {
    let dir = tempfile::tempdir().unwrap();
    let file = settings(dir.path(), "[retention]\nbuilds = 2\nevery_seconds = 1\n");
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    for _ in 0..5 {
        assert_eq!(status(&server.post("/api/v1/builds", "", SUBMIT)), "201");
    }
    let kept = || server.get("/api/v1/builds", "").matches("\"accepted_at\"").count();
    for _ in 0..1200 {
        if kept() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(kept(), 2);
}

#[test]
fn a_server_that_may_keep_nothing_more_takes_no_build() {
    let dir = tempfile::tempdir().unwrap();
    let file = settings(dir.path(), "[retention]\ndisk_bytes = 1\nevery_seconds = 1\n");
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    let mut answer = String::new();
    for _ in 0..1200 {
        answer = server.post("/api/v1/builds", "", SUBMIT);
        if status(&answer) != "201" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(answer.contains("\"code\":\"exhausted\""), "{answer}");
    assert!(answer.contains("retention.disk_bytes"), "{answer}");
}

#[test]
fn caches_that_nobody_uses_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = kiln_files::FileArtifacts::open(dir.path().join("artifacts")).unwrap();
    let owner = kiln::Owner::local();
    let cache = |name: &str| kiln::CacheKey::new(name).unwrap().build(&owner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let put = |build: &kiln::BuildId, name: &str, text: &str| {
        let name = kiln::RelPath::new(name).unwrap();
        let key = kiln::port::ArtifactKey { build: build.clone(), name };
        let text = text.to_owned().into_bytes();
        let body = futures::stream::iter([Ok(text.into())]);
        runtime.block_on(artifacts.put(&key, Box::pin(body))).unwrap();
    };
    let (old, new) = (cache("old"), cache("new"));
    for build in [&old, &new] {
        put(build, kiln::CacheKey::ARCHIVE, "some bytes");
    }
    put(&old, "used", r#"{"version":1,"at":1}"#);
    // Nothing is said of caches: that is the default.
    let _server = Server::start(dir.path());
    let kept = || runtime.block_on(artifacts.caches()).unwrap();
    for _ in 0..600 {
        if kept().len() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(kept(), [new]);
}

/// A file system of its own, gone with the test.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "kiln-test"]).arg(dir.path());
        if mount.output().is_ok_and(|done| done.status.success()) {
            return Some(Self(dir));
        }
        println!("SKIPPED: {test}: kernel: nothing may be mounted here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room that is left; a file to remove gives it back.
    fn fill(&self) -> std::path::PathBuf {
        let ballast = self.path().join("ballast");
        let mut bytes = 8 << 20;
        while std::fs::write(&ballast, vec![1; bytes]).is_err() {
            bytes -= 4096;
        }
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_ends_no_server() {
    let Some(disk) = Small::mount("a_full_disk_ends_no_server") else { return };
    let server = Server::start(disk.path());
    let submit = || server.post("/api/v1/builds", "", SUBMIT);
    let at =
        |made: &str| made.lines().find_map(|l| l.strip_prefix("location: ")).map(str::to_owned);
    let first = at(&submit()).unwrap();
    finished(&server, &first);
    let ballast = disk.fill();
    // There may be room that was taken before.
    let (mut answer, mut taken) = (submit(), Vec::new());
    while let Some(at) = at(&answer) {
        taken.push(at);
        answer = submit();
    }
    assert_eq!(status(&answer), "507", "{answer}");
    assert!(answer.contains("\"code\":\"exhausted\"") && answer.contains("disk"), "{answer}");
    // Whoever waits for a build is told too, and asks again.
    std::thread::sleep(Duration::from_secs(2));
    finished(&server, &first);
    std::fs::remove_file(ballast).unwrap();
    let after = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        at(&submit())
    });
    taken.push(after.expect("a build is taken once there is room"));
    taken.iter().for_each(|at| finished(&server, at));
}
