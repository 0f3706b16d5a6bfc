//! What the tests work with: a data directory of their own, a base image, services.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};
use tempfile::TempDir;

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct Bench {
    home: TempDir,
}

/// A bench with real parts; none, and a word why, where they are not wanted.
pub(crate) fn real(test: &str) -> Option<Bench> {
    if std::env::var_os("KILN_TEST_REAL").is_none() {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
        return None;
    }
    let bench = Bench::plain();
    base_image(&bench);
    Some(bench)
}

/// A moment below a limit of milliseconds, spread evenly and not in order.
pub(crate) fn moment(i: u64, limit: u64) -> Duration {
    Duration::from_millis(i * 7919 % 20 * limit / 20 + 20)
}

const BASE: &str = "kiln-test/base:latest";

/// Makes the base image of a static busybox, once.
fn base_image(bench: &Bench) {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"];
        let busybox = busybox.iter().find(|p| Path::new(p).exists());
        std::fs::copy(busybox.expect("busybox-static is installed"), bin.join("busybox")).unwrap();
        for name in ["sh", "cat", "echo", "sleep", "ls", "true"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        let archive = root.path().join("base.tar");
        let (archive, root) = (archive.to_str().unwrap(), root.path().to_str().unwrap());
        assert_eq!(bench.run("tar", &["-C", root, "-cf", archive, "bin"]).code, 0);
        let made = bench.docker(&["import", archive, BASE]);
        assert_eq!(made.code, 0, "{made:?}");
    });
}

impl Bench {
    pub(crate) fn plain() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn base(&self) -> &str {
        BASE
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Said {
        let mut command = Command::new(program);
        command.args(args).env("KILN_HOME", self.home.path()).stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into(),
            err: String::from_utf8_lossy(&output.stderr).into(),
        }
    }

    pub(crate) fn kiln(&self, args: &[&str]) -> Said {
        self.run(env!("CARGO_BIN_EXE_kiln"), args)
    }

    pub(crate) fn docker(&self, args: &[&str]) -> Said {
        self.run("docker", args)
    }

    /// Starts the command and kills it after some time, as hard as can be.
    pub(crate) fn kill_after(&self, args: &[&str], time: Duration) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kiln"))
            .args(args)
            .env("KILN_HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(time);
        // It may be done by then.
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// A directory with a Dockerfile and files.
    pub(crate) fn context(&self, dockerfile: &str, files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Dockerfile"), dockerfile.replace("{base}", BASE)).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    /// Makes a repository of a directory.
    pub(crate) fn git(&self, dir: &Path) {
        let dir = dir.to_str().unwrap();
        for args in [
            &["-C", dir, "init", "-q"][..],
            &["-C", dir, "add", "-A"],
            &["-C", dir, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one"],
        ] {
            let run = self.run("git", args);
            assert_eq!(run.code, 0, "{run:?}");
        }
    }

    /// Makes a repository whose file is a link.
    pub(crate) fn git_with_link(&self, dir: &Path, name: &str, to: &str) {
        std::os::unix::fs::symlink(to, dir.join(name)).unwrap();
        self.git(dir);
    }

    /// The host of a registry of the test services.
    pub(crate) fn registry(&self, name: &str) -> Option<String> {
        let Some(path) = std::env::var_os("KILN_TEST_SERVICES") else {
            println!("SKIPPED: {name}: KILN_TEST_SERVICES is not set");
            return None;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let services: serde_json::Value = serde_json::from_str(&text).unwrap();
        Some(services["services"][name]["host"].as_str().expect("the service is up").to_owned())
    }

    /// Nothing of a build is left but its journal, its log and its image.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        for part in ["work", "tmp", "drivers"] {
            let left: Vec<_> = std::fs::read_dir(self.home.path().join(part))
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            assert!(left.is_empty(), "left in {part}: {left:?}");
        }
        let labelled = ["ps", "-aq", "--filter", "label=dev.kiln.build"];
        assert_eq!(self.docker(&labelled).out, "", "containers of Kiln are left");
    }

    /// The offsets of the last build's log follow one another from 0 on.
    #[track_caller]
    pub(crate) fn assert_last_log_is_whole(&self) {
        let builds: serde_json::Value =
            serde_json::from_str(&self.kiln(&["builds", "--json"]).out).unwrap();
        let Some(id) = builds[0]["build"].as_str() else { return };
        let mut next = 0;
        for line in self.kiln(&["logs", id, "--json"]).out.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["at"], next, "a gap or a repeat");
            let width = record["text"].as_str().map_or(1, str::len) as u64;
            next += width.max(1);
        }
    }
}
