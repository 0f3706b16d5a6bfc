//! `kiln build` against `docker build`, as processes on the engine at hand: how long they take, and
//! how much memory ours needs. Runs are interleaved; what counts is the ratio of medians.
//!
//! The command to compare with is `docker`, or what `KILN_BENCH_DOCKER` names. One that still has its
//! own BuildKit client (before version 23), or buildx, is measured with BuildKit too. `KILN_BENCH_RUNS`
//! says how often (5). Everything is built from scratch; names are removed, the engine's cache stays.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const BUSYBOX: &str = "/bin/busybox";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tool {
    Kiln,
    Classic,
    BuildKit,
}

struct Bench {
    dir: PathBuf,
    kiln: PathBuf,
    docker: String,
    tools: Vec<Tool>,
    runs: usize,
}

/// A kind of context.
struct Case {
    name: &'static str,
    /// Most that ours may take of the faster one's time: cold, and when nothing changed.
    limits: [(&'static str, f64); 2],
    write: fn(&Path),
}

const CASES: [Case; 3] = [
    Case { name: "small", limits: [("<=", 1.10), ("<=", 1.25)], write: |_| {} },
    Case {
        name: "200mb",
        limits: [("<", 1.0), ("<", 1.0)],
        write: |dir| {
            for i in 0..20_u8 {
                let piece: Vec<u8> = (0..10_u32 << 20).map(|n| (n >> 7) as u8 ^ i).collect();
                fs::write(dir.join(format!("file{i}")), piece).expect("room for a context");
            }
        },
    },
    Case {
        name: "10000files",
        limits: [("<", 1.0), ("<", 1.0)],
        write: |dir| {
            let ignore = "# left out\n.git\n**/*.log\n!keep/*.log\nnode_modules\ntarget/**\n";
            fs::write(dir.join(".dockerignore"), ignore).expect("room for a context");
            for d in 0..100 {
                for (part, files) in [("src", 100), ("node_modules", 20)] {
                    let below = dir.join(part).join(format!("d{d}"));
                    fs::create_dir_all(&below).expect("room for a context");
                    for f in 0..files {
                        let text = format!("{part} {d} {f}\n").repeat(20);
                        fs::write(below.join(format!("f{f}")), text).expect("room for a context");
                    }
                }
                fs::write(dir.join(format!("src/d{d}/out.log")), "x").expect("room for a context");
            }
        },
    },
];

/// Our command, built like this benchmark.
fn kiln() -> PathBuf {
    if let Some(path) = std::env::var_os("KILN_BENCH_KILN") {
        return path.into();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--profile", "bench", "-p", "kiln-cli"])
        .status();
    assert!(built.expect("cargo runs").success(), "kiln cannot be built");
    let own = std::env::current_exe().expect("this program has a path");
    own.parent().and_then(Path::parent).expect("benches are in target/release/deps").join("kiln")
}

impl Bench {
    fn new(dir: &Path) -> Self {
        let docker = std::env::var("KILN_BENCH_DOCKER").unwrap_or_else(|_| "docker".into());
        let runs = std::env::var("KILN_BENCH_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
        let mut bench = Self {
            dir: dir.into(),
            kiln: kiln(),
            docker,
            tools: vec![Tool::Kiln, Tool::Classic],
            runs,
        };
        let probe = bench.context(&CASES[0], "probe", None);
        if bench.command(Tool::BuildKit, &probe).status().is_ok_and(|s| s.success()) {
            bench.tools.push(Tool::BuildKit);
        } else {
            println!(
                "`{} build` has no BuildKit here: the classic builder alone is compared",
                bench.docker
            );
        }
        bench
    }

    /// A directory to build, different from every other in one small file.
    fn context(&self, case: &Case, id: &str, like: Option<&Path>) -> PathBuf {
        let dir = self.dir.join(format!("{}-{id}", case.name));
        fs::create_dir_all(&dir).expect("a temporary directory");
        match like {
            Some(like) => link(like, &dir),
            None => (case.write)(&dir),
        }
        let dockerfile = "FROM scratch\nCOPY busybox /bin/\nCOPY busybox /bin/sh\nCOPY . /src\n\
                          RUN true\nRUN true\nENV A=1\nCMD [\"/bin/sh\"]\n";
        fs::copy(BUSYBOX, dir.join("busybox")).expect("busybox");
        fs::write(dir.join("Dockerfile"), dockerfile).expect("room for a context");
        fs::write(dir.join("id"), format!("{} {id}", std::process::id()))
            .expect("room for a context");
        dir
    }

    fn command(&self, tool: Tool, context: &Path) -> Command {
        let name = format!("kiln-bench/{tool:?}").to_lowercase();
        let mut command = match tool {
            Tool::Kiln => Command::new(&self.kiln),
            Tool::Classic | Tool::BuildKit => Command::new(&self.docker),
        };
        let kit = if tool == Tool::Classic { "0" } else { "1" };
        command.env("DOCKER_BUILDKIT", kit).env("KILN_HOME", self.dir.join("home"));
        command.args(["build", "-t", &name]).arg(context);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn time(&self, tool: Tool, context: &Path) -> f64 {
        let began = Instant::now();
        let status = self.command(tool, context).status().expect("the command runs");
        assert!(status.success(), "{tool:?} cannot build {}", context.display());
        began.elapsed().as_secs_f64()
    }

    fn compare(&self, case: &Case) {
        let template = self.context(case, "template", None);
        let mut times: BTreeMap<(usize, Tool), Vec<f64>> = BTreeMap::new();
        for run in 0..self.runs {
            for i in 0..self.tools.len() {
                // Nobody is always the one after the same other.
                let tool = self.tools[(i + run) % self.tools.len()];
                let context = self.context(case, &format!("{tool:?}-{run}"), Some(&template));
                for state in 0..2 {
                    times.entry((state, tool)).or_default().push(self.time(tool, &context));
                }
                fs::remove_dir_all(context).expect("it is ours");
            }
        }
        for (state, word) in ["cold", "cached"].into_iter().enumerate() {
            let median = |tool: Tool| {
                let mut all = times[&(state, tool)].clone();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            let (name, (op, limit)) = (case.name, case.limits[state]);
            let all: Vec<_> =
                self.tools.iter().map(|t| format!("{t:?} {:.2} s", median(*t))).collect();
            println!("{name} {word}: {}", all.join(", "));
            let best = self.tools[1..].iter().map(|t| median(*t)).fold(f64::MAX, f64::min);
            let ratio = median(Tool::Kiln) / best;
            println!("promise build_{name}_{word} {ratio:.2} {op} {limit} of-docker-build");
        }
        fs::remove_dir_all(template).expect("it is ours");
    }

    /// The most memory our command had with 2 GiB of context, in MiB.
    fn memory(&self, kit: &str) -> u64 {
        let dir = self.dir.join(format!("2gib-{kit}"));
        fs::create_dir_all(&dir).expect("a temporary directory");
        let file = File::create(dir.join("big")).expect("a temporary directory");
        file.set_len(2 << 30).expect("a file with a hole");
        // What is not there ends the build when all was sent and before it is copied.
        fs::write(dir.join("Dockerfile"), "FROM scratch\nCOPY big absent /\n").expect("room");
        let mut command = self.command(Tool::Kiln, &dir);
        let mut child = command.env("DOCKER_BUILDKIT", kit).spawn().expect("the command runs");
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0;
        while child.try_wait().expect("a child of ours").is_none() {
            most = most.max(peak_kib(&status).unwrap_or(0));
            std::thread::sleep(Duration::from_millis(10));
        }
        most / 1024
    }
}

fn peak_kib(status: &str) -> Option<u64> {
    let lines = BufReader::new(File::open(status).ok()?).lines();
    let line = lines.map_while(Result::ok).find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The same files under another name, at no cost.
fn link(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("room for a context");
    for entry in fs::read_dir(from).expect("a directory of ours").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let copied = ["busybox", "Dockerfile", "id"].iter().any(|n| entry.file_name() == **n);
        match from.is_dir() {
            true => link(&from, &to),
            false if !copied => fs::hard_link(from, to).expect("one file system"),
            false => {}
        }
    }
}

fn main() {
    // Only asked for by `cargo bench`; a test run has nothing to compare.
    if !Path::new(BUSYBOX).exists() || Command::new("docker").arg("version").output().is_err() {
        println!("SKIPPED: build: it takes /bin/busybox and the docker command");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bench = Bench::new(dir.path());
    let only = std::env::args().nth(1).filter(|a| !a.starts_with('-'));
    for case in CASES.iter().filter(|c| only.as_deref().is_none_or(|o| o == c.name)) {
        bench.compare(case);
    }
    if only.as_deref().is_none_or(|o| o == "memory") {
        for (name, kit) in [("session", "1"), ("archive", "0")] {
            println!("promise build_memory_{name} {} < 64 MiB", bench.memory(kit));
        }
    }
    for tool in &bench.tools {
        let name = format!("kiln-bench/{tool:?}").to_lowercase();
        let remove = Command::new(&bench.docker).args(["rmi", &name]).output();
        assert!(remove.is_ok(), "the names of the benchmark cannot be removed");
    }
}
