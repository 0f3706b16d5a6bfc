//! What the tests work with: an engine, homes and images of their own, all of it removed again.

use bollard::{
    Docker,
    models::CreateImageInfo,
    query_parameters::{CreateImageOptions, RemoveImageOptions},
};
use futures::TryStreamExt;
use kiln::{
    BoxName, BoxSpec, BuildId, Command, ImageRef, StepId, StepKey,
    port::{BoxHandle, Exit, Runtime, Stream},
};
use kiln_conformance::step::TestStep;
use kiln_docker::{DockerClient, DockerConfig, DockerContainers, DockerRuntime, HomeId};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::sync::OnceCell;

const SHELL: &str = "kiln-test/shell:2";
const TOOLS: [&str; 34] = [
    "cat",
    "chmod",
    "cp",
    "date",
    "dd",
    "echo",
    "env",
    "grep",
    "head",
    "hostname",
    "httpd",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mv",
    "nc",
    "ps",
    "rm",
    "seq",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "tail",
    "test",
    "touch",
    "tr",
    "true",
    "wc",
    "wget",
    "yes",
];

/// An engine, and a home on it that no other test has.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) runtime: Arc<DockerRuntime>,
    pub(crate) containers: DockerContainers,
    pub(crate) docker: Docker,
    pub(crate) home: HomeId,
    pub(crate) shell: ImageRef,
    client: DockerClient,
    images: Mutex<Vec<String>>,
}

/// A bench; none, and a word why, where no engine is wanted.
pub(crate) async fn bench(test: &str) -> Option<Bench> {
    bench_of(test, HomeId::new(BuildId::random().as_str()).unwrap()).await
}

/// A bench of a home; see [`bench`].
pub(crate) async fn bench_of(test: &str, home: HomeId) -> Option<Bench> {
    if std::env::var_os("KILN_TEST_REAL").is_none() {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
        return None;
    }
    let config = DockerConfig::from_vars(|name| std::env::var(name).ok()).unwrap();
    let client = DockerClient::new(config).unwrap();
    let bench = Bench {
        runtime: Arc::new(DockerRuntime::new(client.clone(), home.clone())),
        containers: DockerContainers::new(client.clone(), home.clone()),
        docker: connect(),
        home,
        shell: ImageRef::parse(SHELL).unwrap(),
        client,
        images: Mutex::default(),
    };
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        if bench.docker.inspect_image(SHELL).await.is_err() {
            bench.import(SHELL, busybox(), &[]).await;
        }
    })
    .await;
    Some(bench)
}

fn connect() -> Docker {
    match std::env::var("DOCKER_HOST").ok().filter(|h| h.starts_with("tcp://")) {
        Some(host) => Docker::connect_with_http(&host, 120, bollard::API_DEFAULT_VERSION).unwrap(),
        None => Docker::connect_with_unix_defaults().unwrap(),
    }
}

/// A file of an image: its path, its mode and its bytes.
pub(crate) type File = (String, u32, Vec<u8>);

/// A static busybox with its tools, users, and a directory for anybody.
pub(crate) fn busybox() -> Vec<u8> {
    let places = ["/bin/busybox", "/usr/bin/busybox"];
    let found = places.iter().find(|p| Path::new(p).exists());
    let bytes = std::fs::read(found.expect("busybox-static is installed")).unwrap();
    let links = TOOLS.map(|t| (format!("bin/{t}"), "busybox".to_owned()));
    archive(&[("bin/busybox".to_owned(), 0o755, bytes)], &links)
}

/// An archive of files and links, with users and `/tmp`.
pub(crate) fn archive(files: &[File], links: &[(String, String)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let users = "root:x:0:0::/:/bin/sh\njoe:x:1000:1000::/:/bin/sh\n";
    let users = ("etc/passwd".to_owned(), 0o644, users.as_bytes().to_vec());
    for (path, mode, bytes) in files.iter().chain([&users]) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    for (path, to) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, path, to).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    tar.append_data(&mut header, "tmp/", std::io::empty()).unwrap();
    tar.into_inner().unwrap()
}

impl Bench {
    /// The home as another process sees it.
    pub(crate) fn another(&self) -> DockerRuntime {
        DockerRuntime::new(self.client.clone(), self.home.clone())
    }

    /// A runtime of another home on the same engine.
    pub(crate) fn stranger(&self) -> DockerRuntime {
        let home = HomeId::new(BuildId::random().as_str()).unwrap();
        DockerRuntime::new(self.client.clone(), home)
    }

    async fn import(&self, name: &str, archive: Vec<u8>, changes: &[&str]) {
        let (repo, tag) = name.rsplit_once(':').unwrap();
        let label = "LABEL dev.kiln.test=image";
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
            changes: changes.iter().chain([&label]).map(|&c| c.to_owned()).collect(),
            ..CreateImageOptions::default()
        };
        let body = bollard::body_full(archive.into());
        let told = self.docker.create_image(Some(options), Some(body), None);
        let _: Vec<CreateImageInfo> = told.try_collect().await.unwrap();
    }

    /// An image of an archive, for as long as the bench lives.
    pub(crate) async fn image(&self, archive: Vec<u8>, changes: &[&str]) -> ImageRef {
        let name = format!("kiln-test/{}:1", BuildId::random());
        self.import(&name, archive, changes).await;
        self.remove_later(&name);
        ImageRef::parse(&name).unwrap()
    }

    /// Removes an image with the bench.
    pub(crate) fn remove_later(&self, image: &str) {
        self.images.lock().unwrap().push(image.to_owned());
    }

    /// A box of the image with a shell.
    pub(crate) fn spec(&self) -> BoxSpec {
        BoxSpec::new(self.shell.clone())
    }

    /// Starts the main box of a build.
    pub(crate) async fn start(&self, step: &TestStep, spec: &BoxSpec) -> BoxHandle {
        self.runtime.start(step.cx(), &name("main"), spec).await.unwrap()
    }

    /// Runs a script in a box and expects success; returns its standard output.
    pub(crate) async fn says(&self, step: &TestStep, in_box: &BoxHandle, script: &str) -> String {
        let mut step = beside(step, next_number());
        let ended = self.runtime.exec(step.cx(), in_box, &Command::script(script)).await;
        let text = step.text().await;
        assert_eq!(ended.unwrap(), Exit::new(0), "{script}: {text}");
        String::from_utf8(step.bytes(Stream::Stdout).await).unwrap()
    }

    /// The container of a box.
    pub(crate) async fn container(&self, step: &TestStep) -> String {
        let label = format!("dev.kiln.build={}", step.key.build);
        let ids = self.labelled(&label).await;
        assert_eq!(ids.len(), 1, "{ids:?}");
        ids.into_iter().next().unwrap()
    }

    /// The ids of the containers with a label.
    pub(crate) async fn labelled(&self, label: &str) -> Vec<String> {
        let filters = [("label".to_owned(), vec![label.to_owned()])].into();
        let options = bollard::query_parameters::ListContainersOptions {
            all: true,
            filters: Some(filters),
            ..Default::default()
        };
        let found = self.docker.list_containers(Some(options)).await.unwrap();
        found.into_iter().filter_map(|c| c.id).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let (runtime, docker) = (self.runtime.clone(), self.docker.clone());
        let images = std::mem::take(&mut *self.images.lock().unwrap());
        let clean = async move {
            for left in runtime.leftovers(None).await.unwrap() {
                runtime.sweep(&left.build).await.unwrap();
            }
            let options = RemoveImageOptions { force: true, ..Default::default() };
            for image in images {
                // A test may have removed it.
                let _ = docker.remove_image(&image, Some(options.clone()), None).await;
            }
        };
        let cleaned = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(clean);
        });
        if cleaned.join().is_err() {
            println!("warning: a test left something on the engine");
        }
    }
}

pub(crate) fn name(text: &str) -> BoxName {
    BoxName::new(text).unwrap()
}

/// Another step of the same build.
pub(crate) fn beside(step: &TestStep, number: u16) -> TestStep {
    TestStep::of(StepKey { build: step.key.build.clone(), step: StepId(number), attempt: 1 })
}

fn next_number() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
