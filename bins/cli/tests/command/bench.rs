//! What the tests work with: a data directory of their own, a base image, services.

use std::{
    fs::Permissions,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into(),
            err: String::from_utf8_lossy(&output.stderr).into(),
        }
    }
}

impl Said {
    /// Each line of the output as JSON; each has a version and a type.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let read = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["version"], 1, "{line}");
            assert!(value["type"].is_string(), "{line}");
            value
        };
        self.out.lines().map(read).collect()
    }

    /// The last line as JSON.
    #[track_caller]
    pub(crate) fn last(&self) -> serde_json::Value {
        self.json().pop().unwrap_or_else(|| panic!("nothing was said: {self:?}"))
    }
}

pub(crate) struct Bench {
    home: TempDir,
    real: bool,
}

/// A bench with real parts; none, and a word why, where they are not wanted.
pub(crate) fn real(test: &str) -> Option<Bench> {
    if std::env::var_os("KILN_TEST_REAL").is_none() {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
        return None;
    }
    let mut bench = Bench::plain();
    bench.real = true;
    base_image(&bench);
    Some(bench)
}

/// A moment below a limit of milliseconds, spread evenly and not in order.
pub(crate) fn moment(i: u64, limit: u64) -> Duration {
    Duration::from_millis(i * 7919 % 20 * limit / 20 + 20)
}

/// The base of all images here. It stays in the engine for the next run; another content gets
/// another name.
const BASE: &str = "kiln-test/cli-base:2";
/// What the tests leave in an engine has this label, with the data directory as its value.
const LABEL: &str = "dev.kiln.test";

/// Makes the base image of a static busybox, once.
fn base_image(bench: &Bench) {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        if bench.docker(&["image", "inspect", BASE]).code == 0 {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"];
        let busybox = busybox.iter().find(|p| Path::new(p).exists());
        std::fs::copy(busybox.expect("busybox-static is installed"), bin.join("busybox")).unwrap();
        let names = bench.run(bin.join("busybox").to_str().unwrap(), &["--list"]).out;
        for name in names.lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        let archive = root.path().join("base.tar");
        let (archive, root) = (archive.to_str().unwrap(), root.path().to_str().unwrap());
        assert_eq!(bench.run("tar", &["-C", root, "-cf", archive, "bin"]).code, 0);
        let made = bench.docker(&["import", "--change", "LABEL dev.kiln.test=base", archive, BASE]);
        assert_eq!(made.code, 0, "{made:?}");
    });
}

impl Bench {
    pub(crate) fn plain() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
        Self { home, real: false }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn base(&self) -> &str {
        BASE
    }

    pub(crate) fn label(&self) -> String {
        format!("{LABEL}={}", self.home.path().display())
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Said {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        command.output().unwrap_or_else(|e| panic!("{program}: {e}")).into()
    }

    /// The command, with this bench's data directory and nothing of the user's own.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(args);
        if args.first() == Some(&"build") {
            command.arg("--label").arg(self.label());
        }
        command.env("KILN_HOME", self.home.path()).env("HOME", self.home.path());
        command.env("DOCKER_CONFIG", self.home.path().join("docker")).stdin(Stdio::null());
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "XDG_DATA_HOME", "SSH_AUTH_SOCK"] {
            command.env_remove(name);
        }
        for name in ["KILN_SERVER", "KILN_TOKEN", "KILN_TOKEN_FILE", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn kiln(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// The command with something on its standard input.
    pub(crate) fn kiln_with(&self, args: &[&str], input: &[u8]) -> Said {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may end without reading all of it.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().unwrap().into()
    }

    /// The command, begun; its output can be taken at its end.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until the log of the only build says something; returns the build's id.
    pub(crate) fn wait_for_log(&self, words: &str) -> String {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < Duration::from_secs(120), "the log never said {words:?}");
            std::thread::sleep(Duration::from_millis(20));
            let builds = self.kiln(&["builds", "--json"]);
            let Some(build) = builds.json().pop() else { continue };
            let id = build["build"].as_str().unwrap().to_owned();
            if self.kiln(&["logs", &id]).out.contains(words) {
                return id;
            }
        }
    }

    pub(crate) fn signal(&self, child: &Child, name: &str) {
        let pid = child.id().to_string();
        assert_eq!(self.run("kill", &["-s", name, &pid]).code, 0);
    }

    pub(crate) fn docker(&self, args: &[&str]) -> Said {
        self.run("docker", args)
    }

    /// Starts the command and kills it after some time, as hard as can be.
    pub(crate) fn kill_after(&self, args: &[&str], time: Duration) {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
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
        let service = self.service(name)?;
        Some(service["host"].as_str().expect("the service is up").to_owned())
    }

    pub(crate) fn service(&self, name: &str) -> Option<serde_json::Value> {
        let Some(path) = std::env::var_os("KILN_TEST_SERVICES") else {
            println!("SKIPPED: {name}: KILN_TEST_SERVICES is not set");
            return None;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let services: serde_json::Value = serde_json::from_str(&text).unwrap();
        Some(services["services"][name].clone())
    }

    /// The files in a part of the data directory.
    pub(crate) fn left_in(&self, part: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home.path().join(part)).into_iter().flatten();
        entries.map(|e| e.unwrap().path()).collect()
    }

    /// Nothing of a build is left but its journal, its log and its image.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        for part in ["work", "tmp", "drivers"] {
            let left = self.left_in(part);
            assert!(left.is_empty(), "left in {part}: {left:?}");
        }
        if !self.real {
            return;
        }
        let builds = self.kiln(&["builds", "--json", "--all"]).json();
        let ours: Vec<_> = builds.iter().filter_map(|b| b["build"].as_str()).collect();
        let format = "{{.Label \"dev.kiln.build\"}}";
        let filter = "label=dev.kiln.build";
        let containers = self.docker(&["ps", "-a", "--filter", filter, "--format", format]).out;
        let left: Vec<_> = containers.lines().filter(|build| ours.contains(build)).collect();
        assert!(left.is_empty(), "containers of these builds are left: {left:?}");
    }

    /// The offsets of the last build's log follow one another from 0 on.
    #[track_caller]
    pub(crate) fn assert_last_log_is_whole(&self) {
        let builds = self.kiln(&["builds", "--json", "-n", "1"]).json();
        let Some(latest) = builds.first() else { return };
        let id = latest["build"].as_str().unwrap();
        let mut next = 0;
        for record in self.kiln(&["logs", id, "--json"]).json() {
            assert_eq!(record["at"], next, "a gap or a repeat");
            let width = record["text"].as_str().map_or(1, str::len) as u64;
            next += width.max(1);
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.real {
            let filter = format!("label={}", self.label());
            let images = self.docker(&["images", "-q", "--filter", &filter]).out;
            let mut ids: Vec<_> = images.lines().collect();
            ids.sort_unstable();
            ids.dedup();
            for id in ids {
                self.docker(&["rmi", "-f", id]);
            }
        }
    }
}
