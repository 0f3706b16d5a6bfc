//! Data directories that cannot be used, and disks that are full.

use crate::bench::{Bench, real};
use std::path::Path;

#[test]
fn a_data_directory_that_cannot_be_used_is_our_error() {
    let bench = Bench::plain();
    let file = bench.home().join("file");
    std::fs::write(&file, "x").unwrap();
    for home in [file.join("below"), "/proc/kiln-test".into()] {
        let run = bench.kiln(&["builds", "--home", home.to_str().unwrap()]);
        assert!(run.code == 3 && run.err.contains("--home"), "{run:?}");
        let json = bench.kiln(&["builds", "--json", "--home", home.to_str().unwrap()]);
        assert_eq!(json.last()["exit_code"], 3, "{json:?}");
        assert!(!home.exists());
    }
}

#[test]
fn a_damaged_database_is_left_alone() {
    let bench = Bench::plain();
    let file = bench.home().join("kiln.db");
    let garbage = "this is no database, and was never one. ".repeat(200);
    std::fs::write(&file, &garbage).unwrap();
    for args in [&["builds"][..], &["build", "."], &["prune", "--all"]] {
        let run = bench.kiln(args);
        assert!(run.code == 3 && run.err.contains("kiln.db"), "{args:?}: {run:?}");
        assert!(run.err.contains("help:"), "{args:?}: {run:?}");
    }
    let doctor = bench.kiln(&["doctor", "--json"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    let database = doctor.json().into_iter().find(|f| f["what"] == "database").unwrap();
    assert_eq!(database["verdict"], "problem");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), garbage);
    assert!(bench.left_in("drivers").is_empty());
}

/// A file system of its own, gone when the test is.
struct Small<'a>(&'a Bench, tempfile::TempDir);

impl<'a> Small<'a> {
    fn mount(bench: &'a Bench, test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let run = bench.run("mount", &["-t", "tmpfs", "-o", "size=400k", "tmpfs", path]);
        if run.code != 0 {
            println!("SKIPPED: {test}: kernel: no file system can be mounted: {}", run.err.trim());
            return None;
        }
        Some(Self(bench, dir))
    }

    fn path(&self) -> &Path {
        self.1.path()
    }

    fn grow(&self) {
        let path = self.path().to_str().unwrap();
        assert_eq!(self.0.run("mount", &["-o", "remount,size=64m", path]).code, 0);
    }

    fn fill(&self, kib: usize) {
        std::fs::write(self.path().join("fill"), vec![0; kib * 1024]).unwrap();
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        self.0.run("umount", &[self.path().to_str().unwrap()]);
    }
}

#[test]
fn a_full_disk_is_our_error_and_the_build_can_be_resumed() {
    let Some(bench) = real("a_full_disk") else { return };
    let Some(disk) = Small::mount(&bench, "a_full_disk") else { return };
    let home = disk.path().join("home");
    let home = home.to_str().unwrap();
    let dir = bench.context("FROM {base}\nRUN echo hello\n", &[]);
    let path = dir.path().to_str().unwrap();
    // Full from the beginning.
    disk.fill(390);
    let run = bench.kiln(&["build", path, "--home", home]);
    assert!(run.code == 3 && run.err.contains("disk"), "{run:?}");
    // What is left is less than what BuildKit lets through of the output.
    disk.fill(200);
    // Full in the middle: what can be known of the end is known once there is room.
    let big = bench.context("FROM {base}\nRUN head -c 400000 /dev/urandom | base64\n", &[]);
    let run = bench.kiln(&["build", big.path().to_str().unwrap(), "--no-cache", "--home", home]);
    assert!(matches!(run.code, 0 | 3), "{run:?}");
    assert!(run.err.contains("disk is full"), "{run:?}");
    disk.grow();
    let resumed = bench.kiln(&["resume", "--home", home]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    let again = bench.kiln(&["resume", "--home", home]);
    assert!(again.err.contains("nothing was interrupted"), "{again:?}");
    for part in ["work", "tmp", "drivers"] {
        let left = std::fs::read_dir(Path::new(home).join(part)).unwrap().count();
        assert_eq!(left, 0, "left in {part}");
    }
}
