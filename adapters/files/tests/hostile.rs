//! Workspaces and secrets whose files somebody hostile made, or is just making.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use futures::TryStreamExt;
use kiln::{
    BuildId, ErrorKind, Owner, RelPath, Result, SecretRef,
    port::{Secrets, Workspaces},
};
use kiln_files::{FileSecrets, FileWorkspaces};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

struct Space {
    spaces: FileWorkspaces,
    build: BuildId,
    root: PathBuf,
    outside: PathBuf,
    _dir: TempDir,
}

impl Space {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spaces = FileWorkspaces::open(dir.path().join("work")).unwrap();
        let build = BuildId::new("b").unwrap();
        let root = spaces.prepare(&build).await.unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), "of the host").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
        Self { spaces, build, root, outside, _dir: dir }
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        let pieces: Vec<_> = self
            .spaces
            .read(&self.build, &RelPath::new(path).unwrap())
            .await?
            .try_collect()
            .await?;
        Ok(pieces.concat())
    }

    async fn kind(&self, path: &str) -> ErrorKind {
        let read = self.read(path);
        let read = tokio::time::timeout(Duration::from_secs(60), read).await;
        read.expect("it waits for nobody").expect_err("it cannot be read").kind()
    }
}

fn pipe(path: &Path) {
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_pipe_is_no_file_and_holds_up_nobody() {
    kiln_conformance::run("pipe", async {
        let space = Space::new().await;
        pipe(&space.root.join("pipe"));
        symlink("pipe", space.root.join("link")).unwrap();
        for path in ["pipe", "link", "pipe/x"] {
            assert_eq!(space.kind(path).await, ErrorKind::NotFound, "{path}");
        }
    });
}

#[test]
fn a_link_inside_the_workspace_is_followed() {
    kiln_conformance::run("inside", async {
        let space = Space::new().await;
        fs::create_dir_all(space.root.join("dist/v1")).unwrap();
        fs::write(space.root.join("dist/v1/app"), "app").unwrap();
        symlink("v1", space.root.join("dist/latest")).unwrap();
        symlink("../dist/./latest//app", space.root.join("dist/app")).unwrap();
        for path in ["dist/latest/app", "dist/app"] {
            assert_eq!(space.read(path).await.unwrap(), b"app", "{path}");
        }
        symlink("round", space.root.join("round")).unwrap();
        symlink("nowhere", space.root.join("broken")).unwrap();
        assert_eq!(space.kind("round").await, ErrorKind::Denied);
        assert_eq!(space.kind("broken").await, ErrorKind::NotFound);
        // Out and in again is out.
        symlink(format!("../{}/dist/v1/app", space.build), space.root.join("again")).unwrap();
        symlink(space.root.join("dist/v1/app"), space.root.join("absolute")).unwrap();
        for path in ["again", "absolute"] {
            assert_eq!(space.kind(path).await, ErrorKind::Denied, "{path}");
        }
    });
}

/// Swaps something for a link again and again, while `work` runs.
async fn while_swapped(root: &Path, to: &Path, name: &str, work: impl AsyncFnOnce()) {
    let (good, bad) = (root.join("good"), root.join("bad"));
    symlink(to, &bad).unwrap();
    let (stop, at) = (std::sync::Arc::new(AtomicBool::new(false)), root.join(name));
    let swapping = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = fs::rename(&at, &good);
                let _ = fs::rename(&bad, &at);
                let _ = fs::rename(&at, &bad);
                let _ = fs::rename(&good, &at);
            }
        }
    });
    work().await;
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
}

#[test]
fn a_directory_that_is_swapped_for_a_link_never_leads_out() {
    kiln_conformance::run("swapped", async {
        let space = Space::new().await;
        fs::create_dir(space.root.join("d")).unwrap();
        fs::write(space.root.join("d/f"), "of the box").unwrap();
        while_swapped(&space.root, &space.outside, "d", async || {
            let (began, mut seen) = (Instant::now(), 0);
            while seen < 100 || began.elapsed() < Duration::from_secs(1) {
                match space.read("d/f").await {
                    Ok(bytes) => {
                        assert_eq!(bytes, b"of the box", "a link was followed");
                        seen += 1;
                    }
                    Err(e) => assert!(
                        [ErrorKind::Denied, ErrorKind::NotFound].contains(&e.kind()),
                        "{e:?}"
                    ),
                }
            }
        })
        .await;
    });
}

#[test]
fn a_removal_touches_nothing_outside_while_links_are_swapped() {
    kiln_conformance::run("removal", async {
        for _ in 0..20 {
            let space = Space::new().await;
            fs::create_dir_all(space.root.join("d/e")).unwrap();
            fs::set_permissions(space.root.join("d"), fs::Permissions::from_mode(0o500)).unwrap();
            while_swapped(&space.root, &space.outside, "d", async || {
                // The box may put things back for ever: then the removal says so.
                let _ = space.spaces.remove(&space.build).await;
            })
            .await;
            assert_eq!(fs::read(space.outside.join("f")).unwrap(), b"of the host");
            let mode = fs::metadata(&space.outside).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755, "the rights of a directory outside were changed");
            space.spaces.remove(&space.build).await.unwrap();
            assert!(!space.root.exists());
        }
    });
}

#[test]
fn a_directory_without_rights_and_a_very_deep_one_are_removed() {
    kiln_conformance::run("deep", async {
        let space = Space::new().await;
        let mut dir = rustix::fs::open(&space.root, OFlags::DIRECTORY, Mode::empty()).unwrap();
        // Deeper than any path may be long and any process may have files open.
        for _ in 0..2000 {
            rustix::fs::mkdirat(&dir, "deep", Mode::RWXU).unwrap();
            dir = rustix::fs::openat(&dir, "deep", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let closed = space.root.join("closed/inner");
        fs::create_dir_all(&closed).unwrap();
        for i in 0..3000 {
            fs::write(closed.join(i.to_string()), "x").unwrap();
        }
        for path in [closed.as_path(), closed.parent().unwrap()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        space.spaces.remove(&space.build).await.unwrap();
        assert!(!space.root.exists());
    });
}

#[test]
fn the_file_of_a_secret_is_judged_before_it_is_used() {
    kiln_conformance::run("secret", async {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8], mode| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        pipe(&dir.path().join("pipe"));
        let large = vec![b'x'; (1 << 20) + 1];
        let cases = [
            ("good", file("good", b"value", 0o400), None),
            ("open", file("open", b"value", 0o640), Some(ErrorKind::Denied)),
            ("large", file("large", &large, 0o600), Some(ErrorKind::Invalid)),
            ("pipe", dir.path().join("pipe"), Some(ErrorKind::Invalid)),
            ("directory", dir.path().to_owned(), Some(ErrorKind::Invalid)),
            ("absent", dir.path().join("absent"), Some(ErrorKind::NotFound)),
        ];
        for (name, path, kind) in cases {
            let name = SecretRef::new(name).unwrap();
            let secrets = FileSecrets::new().with(name.clone(), path);
            let local = Owner::local();
            let told = secrets.reveal(&local, &name);
            let told = tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
            assert_eq!(told.as_ref().err().map(kiln::Error::kind), kind, "{name}: {told:?}");
        }
    });
}
