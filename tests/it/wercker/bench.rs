//! An engine over Docker, a registry of steps, and what a run came to.

use axum::{Router, extract, http::StatusCode, routing::get};
use futures::TryStreamExt;
use kiln::{
    BuildId, Engine, Op, Outcome, Owner, Plan, RelPath, Secret, SecretRef, SourceSpec, Step,
    StepPhase, Submission,
    memory::{MemoryArtifacts, MemorySecrets},
    port::{ArtifactKey, ArtifactStore, LogBody, Offset},
};
use kiln_archive::{ArchiveConfig, ArchiveSource};
use kiln_docker::{
    DockerBuilder, DockerClient, DockerConfig, DockerContainers, DockerRegistry, DockerRuntime,
    HomeId,
};
use kiln_files::FileWorkspaces;
use kiln_wercker::{
    plan::{PLANNER, WerckerPlanner},
    step::{Found, MemoryRegistry, StepCache},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
};

/// The base of all boxes here. It stays in the engine for the next run.
const BASE: &str = "kiln-test/wercker-base:1";

type Archives = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

pub(crate) struct Bench {
    engine: Engine,
    artifacts: Arc<MemoryArtifacts>,
    steps: Arc<MemoryRegistry>,
    archives: Archives,
    address: OnceLock<String>,
    pending: Mutex<Vec<(String, String)>>,
    secrets: Arc<MemorySecrets>,
    home: HomeId,
    registry: Option<String>,
    repositories: Mutex<Vec<String>>,
    file: Mutex<String>,
    _directory: tempfile::TempDir,
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) build: BuildId,
    pub(crate) outcome: Outcome,
    pub(crate) log: String,
    phases: Vec<(String, StepPhase)>,
}

impl Run {
    fn of(&self, is: impl Fn(&StepPhase) -> bool) -> Vec<String> {
        self.phases.iter().filter(|(_, p)| is(p)).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn skipped(&self) -> Vec<String> {
        self.of(|phase| matches!(phase, StepPhase::Skipped))
    }

    pub(crate) fn failed(&self) -> Vec<String> {
        self.of(|phase| matches!(phase, StepPhase::Failed(_)))
    }

    pub(crate) fn note(&self, step: &str, note: &str) -> String {
        let found = self.phases.iter().find(|(name, _)| name == step);
        match found.unwrap_or_else(|| panic!("there is no step {step}")) {
            (_, StepPhase::Succeeded(output)) => {
                output.notes.get(note).cloned().unwrap_or_default()
            }
            (_, phase) => panic!("{step}: {phase:?}"),
        }
    }
}

fn docker(args: &[&str]) -> (bool, String) {
    let mut command = Command::new("docker");
    let out = command.args(args).stdin(Stdio::null()).output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The tags that an image has on the host.
pub(crate) fn image_tags(repository: &str) -> Vec<String> {
    let (_, out) = docker(&["images", "--format", "{{.Tag}}", repository]);
    let mut tags: Vec<_> = out.lines().map(str::to_owned).collect();
    tags.sort();
    tags
}

pub(crate) fn inspect(image: &str, format: &str) -> String {
    docker(&["image", "inspect", "--format", format, image]).1
}

/// An archive of files with their modes, and of links.
fn archive(files: &[(&str, u32, &[u8])], links: &[(String, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, *bytes).unwrap();
    }
    for (path, to) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, path, to).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Makes the base image of a static busybox, once.
fn base_image() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        if docker(&["image", "inspect", BASE]).0 {
            return;
        }
        let places = ["/bin/busybox", "/usr/bin/busybox"];
        let found = places.iter().find(|p| Path::new(p).exists());
        let busybox = std::fs::read(found.expect("busybox-static is installed")).unwrap();
        let tools = Command::new(found.unwrap()).arg("--list").output().unwrap().stdout;
        let tools = String::from_utf8(tools).unwrap();
        let links: Vec<_> = tools
            .lines()
            .filter(|tool| *tool != "busybox")
            .map(|tool| (format!("bin/{tool}"), "busybox"))
            .collect();
        let users = b"root:x:0:0::/:/bin/sh\n".as_slice();
        let files = [("bin/busybox", 0o755, busybox.as_slice()), ("etc/passwd", 0o644, users)];
        let mut import = Command::new("docker")
            .args(["import", "--change", "LABEL dev.kiln.test=base", "-", BASE])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        import.stdin.take().unwrap().write_all(&archive(&files, &links)).unwrap();
        assert!(import.wait().unwrap().success());
    });
}

impl Bench {
    /// A bench with real parts, and a source with this file; none, and a word why, where they are
    /// not wanted.
    pub(crate) fn new(test: &str, file: &str) -> Option<Self> {
        if std::env::var_os("KILN_TEST_REAL").is_none_or(|v| v != "1") {
            println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
            return None;
        }
        base_image();
        let directory = tempfile::tempdir().unwrap();
        let config = DockerConfig::from_vars(|name| std::env::var(name).ok()).unwrap();
        let client = DockerClient::new(config).unwrap();
        let home = HomeId::new(BuildId::random().as_str()).unwrap();
        let (artifacts, secrets) = (Arc::new(MemoryArtifacts::default()), Arc::default());
        let steps = Arc::new(MemoryRegistry::default());
        let mut archives = ArchiveConfig::default();
        archives.allow_private_network = true;
        let cache = StepCache::new(directory.path().join("steps"));
        let engine = Engine::builder()
            .artifacts(artifacts.clone())
            .secrets(Arc::clone(&secrets) as Arc<MemorySecrets>)
            .workspaces(Arc::new(FileWorkspaces::open(directory.path().join("work")).unwrap()))
            .source(ArchiveSource::new(artifacts.clone(), archives))
            .planner(WerckerPlanner::new(steps.clone(), cache))
            .builder(DockerBuilder::new(client.clone()))
            .registry(Arc::new(DockerRegistry::new(client.clone())))
            .runtime(Arc::new(DockerRuntime::new(client.clone(), home.clone())))
            .containers(Arc::new(DockerContainers::new(client, home.clone())))
            .build();
        let bench = Self {
            engine,
            artifacts,
            steps,
            archives: Archives::default(),
            address: OnceLock::new(),
            pending: Mutex::default(),
            secrets,
            home,
            registry: registry(),
            repositories: Mutex::default(),
            file: Mutex::default(),
            _directory: directory,
        };
        bench.file(file);
        Some(bench)
    }

    /// Another file of the source.
    pub(crate) fn file(&self, text: &str) {
        *self.file.lock().unwrap() = text.replace("BASE", BASE);
    }

    pub(crate) fn secret(&self, name: &str, value: &str) {
        self.secrets.set(Owner::local(), SecretRef::new(name).unwrap(), Secret::new(value));
    }

    /// Publishes a step.
    pub(crate) fn step(&self, name: &str, version: &str, code: &str) {
        let bytes = archive(&[("run.sh", 0o755, code.as_bytes())], &[]);
        self.archives.lock().unwrap().insert(name.to_owned(), bytes);
        self.pending.lock().unwrap().push((name.to_owned(), version.to_owned()));
        self.publish();
    }

    fn publish(&self) {
        let Some(address) = self.address.get() else { return };
        for (name, version) in self.pending.lock().unwrap().drain(..) {
            let tarball_url = format!("{address}/{name}/tarball");
            self.steps.publish("wercker", &name, Found { version, tarball_url, sha256: None });
        }
    }

    /// Serves the archives of steps.
    pub(crate) async fn serve(&self) {
        let archives = self.archives.clone();
        let give = move |extract::Path(name): extract::Path<String>| {
            let found = archives.lock().unwrap().get(&name).cloned();
            std::future::ready(found.ok_or(StatusCode::NOT_FOUND))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/{name}/tarball", get(give));
        tokio::spawn(async move { axum::serve(listener, app).await });
        self.address.set(address).unwrap();
        self.publish();
    }

    pub(crate) fn has_registry(&self) -> bool {
        self.registry.is_some()
    }

    /// A repository that no other test has; its images go with the bench.
    pub(crate) fn repository(&self, name: &str) -> String {
        let (host, random) = (self.registry.as_deref().unwrap_or("kiln-test"), BuildId::random());
        let repository = format!("{host}/{name}-{random}");
        self.repositories.lock().unwrap().push(repository.clone());
        repository
    }

    /// A step, and the pushes of these tags where pushes are made.
    pub(crate) fn pushes(&self, names: &[&str]) -> Vec<String> {
        let mut all = vec![names[0].to_owned()];
        let repository = self.repositories.lock().unwrap()[0].clone();
        let (green, tags) = (names.contains(&"green"), &names[1..]);
        for tag in tags.iter().filter(|_| self.has_registry()) {
            let second = if green || *tag == "red" { "" } else { " (2)" };
            all.push(format!("push {repository}:{tag}{second}"));
        }
        all
    }

    /// Runs a pipeline of the source.
    pub(crate) async fn run(&self, settings: Value) -> Run {
        let build = self.accept(settings).await;
        self.drive(build).await
    }

    /// Accepts a run of a pipeline of the source.
    pub(crate) async fn accept(&self, mut settings: Value) -> BuildId {
        settings["version"] = 1.into();
        let file = self.file.lock().unwrap().clone();
        let source = archive(&[("wercker.yml", 0o644, file.as_bytes())], &[]);
        let url = self.upload(source).await;
        let into = RelPath::new("source").unwrap();
        let mut plan = Plan::builder();
        let fetch = Op::Fetch { source: SourceSpec::new(url), into: into.clone() };
        let fetched = plan.step(Step::new("get code", fetch));
        let input = settings["input"]["url"].as_str().map(SourceSpec::new);
        let ask = Op::Plan { planner: PLANNER.into(), path: into, settings };
        let mut ask = Step::new("read pipeline", ask).after(fetched);
        if let Some(source) = input {
            let fetch = Op::Fetch { source, into: RelPath::new("input").unwrap() };
            ask = ask.after(plan.step(Step::new("get input", fetch)));
        }
        plan.step(ask);
        self.engine.accept(Submission::new(plan.finish().unwrap())).await.unwrap()
    }

    /// Waits until the log of a run says something.
    pub(crate) async fn until(&self, build: &BuildId, words: &str) {
        let (mut log, mut said) = (self.engine.log(build, Offset(0)), Vec::new());
        while let Some(record) = log.try_next().await.unwrap() {
            if let LogBody::Bytes { data, .. } = record.body {
                said.extend_from_slice(&data);
            }
            if String::from_utf8_lossy(&said).contains(words) {
                return;
            }
        }
        panic!("it never said {words}: {}", String::from_utf8_lossy(&said));
    }

    pub(crate) async fn cancel(&self, build: &BuildId) {
        self.engine.cancel(build, "enough", false).await.unwrap();
    }

    /// Runs a program in the box of the runs.
    pub(crate) fn in_box(&self, args: &[&str]) -> String {
        let label = format!("label=dev.kiln.home={}", self.home);
        let id = docker(&["ps", "-q", "--filter", &label, "--filter", "label=dev.kiln.service="]).1;
        docker(&[&["exec", &id], args].concat()).1
    }

    /// Drives a run to its end.
    pub(crate) async fn drive(&self, build: BuildId) -> Run {
        let outcome = self.engine.drive(&build).await.unwrap();
        let records: Vec<_> = self.engine.log(&build, Offset(0)).try_collect().await.unwrap();
        let mut log = Vec::new();
        for record in records {
            if let LogBody::Bytes { data, .. } = record.body {
                log.extend_from_slice(&data);
            }
        }
        let mut log = String::from_utf8_lossy(&log).into_owned();
        let state = self.engine.state(&build).await.unwrap();
        let steps = state
            .plan()
            .ids()
            .map(|id| (state.plan().step(id).name.clone(), state.step(id).clone()));
        let phases: Vec<_> = steps.collect();
        for (name, phase) in &phases {
            if let StepPhase::Failed(failure) = phase {
                log.push_str(&format!("FAILED {name}: {}\n", failure.message));
            }
        }
        Run { build, outcome, log, phases }
    }

    /// What is uploaded, as the address of a source.
    async fn upload(&self, bytes: Vec<u8>) -> String {
        let build = BuildId::random();
        let key = ArtifactKey { build: build.clone(), name: RelPath::new("context.tar").unwrap() };
        let body = Box::pin(futures::stream::iter([Ok(bytes.into())]));
        self.artifacts.put(&key, body).await.unwrap();
        format!("upload:{build}")
    }

    async fn artifact(&self, run: &Run, name: &str) -> Vec<u8> {
        let key = ArtifactKey { build: run.build.clone(), name: RelPath::new(name).unwrap() };
        let body = self.artifacts.get(&key).await.unwrap_or_else(|e| panic!("{e}\n{}", run.log));
        body.try_collect::<Vec<_>>().await.unwrap().concat()
    }

    /// An artifact of a run as a source of another one.
    pub(crate) async fn upload_of(&self, run: &Run, name: &str) -> String {
        let bytes = self.artifact(run, name).await;
        self.upload(bytes).await
    }

    /// The names in an archive that a run left.
    pub(crate) async fn names(&self, run: &Run, name: &str) -> Vec<String> {
        let bytes = self.artifact(run, name).await;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap();
        let name = |e: std::io::Result<tar::Entry<'_, &[u8]>>| {
            e.unwrap().path().unwrap().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    /// The containers, networks and volumes that are left.
    pub(crate) fn left(&self) -> String {
        let label = format!("label=dev.kiln.home={}", self.home);
        let containers = docker(&["ps", "-aq", "--filter", &label]).1;
        let volumes = docker(&["volume", "ls", "-q", "--filter", &label]).1;
        let networks = docker(&["network", "ls", "-q", "--filter", &label]).1;
        format!("{containers}{volumes}{networks}")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for repository in self.repositories.lock().unwrap().drain(..) {
            // By id: a push leaves the digest as a name, also of an image that has no tag any more.
            for id in docker(&["images", "-q", &repository]).1.lines() {
                let _ = docker(&["rmi", "-f", id]);
            }
        }
    }
}

/// The registry of images of the tests, if one runs.
fn registry() -> Option<String> {
    let path = std::env::var_os("KILN_TEST_SERVICES")?;
    let all: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    all["services"]["registry"]["host"].as_str().map(str::to_owned)
}
