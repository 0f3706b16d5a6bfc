//! What the tests are made of: the engine, the registries, and images that go away again.

use bollard::{
    Docker, body_full,
    query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptions},
};
use bytes::Bytes;
use futures::TryStreamExt;
use kiln::{BuildId, ImageRef, port::PushSpec};
use kiln_conformance::step::TestStep;
use kiln_docker::{DockerClient, DockerConfig, DockerRegistry};
use serde_json::Value;
use std::{fs, path::Path};

/// The label of everything that is made here.
const LABEL: &str = "LABEL dev.kiln.test=registry";

/// Whether the real parts are there; says so if not.
pub(crate) fn real(test: &str) -> bool {
    let there = std::env::var_os("KILN_TEST_REAL").is_some_and(|v| v == "1");
    if !there {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
    }
    there
}

/// What is known of a service; says so if it does not run.
pub(crate) fn service(test: &str, name: &str) -> Option<Value> {
    let Some(path) = std::env::var_os("KILN_TEST_SERVICES").filter(|_| real(test)) else {
        println!("SKIPPED: {test}: KILN_TEST_SERVICES is not set");
        return None;
    };
    let all: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let found = all["services"].get(name).cloned();
    if found.is_none() {
        println!("SKIPPED: {test}: the service {name} does not run");
    }
    found
}

/// The host of a registry without a password.
pub(crate) fn plain_registry(test: &str) -> Option<String> {
    Some(service(test, "registry")?["host"].as_str()?.to_owned())
}

/// The tests' own connection, to look at what the adapter does.
pub(crate) fn docker() -> Docker {
    Docker::connect_with_defaults().unwrap()
}

/// The adapter, with logins in a directory.
pub(crate) fn registry_of(logins: Option<&Path>) -> DockerRegistry {
    let host = |name: &str| std::env::var(name).ok().filter(|_| name == "DOCKER_HOST");
    let mut config = DockerConfig::from_vars(host).unwrap();
    config.config_dir = logins.map(Path::to_path_buf);
    DockerRegistry::new(DockerClient::new(config).unwrap())
}

pub(crate) fn registry() -> DockerRegistry {
    registry_of(None)
}

pub(crate) fn push(image: &str, to: &ImageRef) -> PushSpec {
    PushSpec { image: image.into(), to: to.clone(), credentials: None }
}

pub(crate) fn name(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

/// A repository of a registry that no other test uses.
pub(crate) fn target(host: &str) -> ImageRef {
    name(&format!("{host}/{}:1", BuildId::random()))
}

/// An image that only this test has. It goes with all its names when dropped.
#[derive(Debug)]
pub(crate) struct TestImage {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl TestImage {
    /// One with so many bytes that cannot be compressed.
    pub(crate) async fn new(bytes: u64) -> Self {
        let name = format!("kiln-test/{}:own", BuildId::random());
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes + 32);
        header.set_mode(0o644);
        let noise = std::io::Read::take(fs::File::open("/dev/urandom").unwrap(), bytes);
        let own =
            std::io::Read::chain(noise, BuildId::random().as_str().to_owned().leak().as_bytes());
        archive.append_data(&mut header, "noise", own).unwrap();
        let body = body_full(Bytes::from(archive.into_inner().unwrap()));
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(&name)
            .changes(vec![LABEL.to_owned()])
            .build();
        let docker = docker();
        docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
        let id = docker.inspect_image(&name).await.unwrap().id.unwrap();
        Self { id, name }
    }

    pub(crate) async fn tag(&self, to: &ImageRef) {
        let options = TagImageOptions { repo: Some(to.name()), tag: to.tag().map(str::to_owned) };
        docker().tag_image(&self.id, Some(options)).await.unwrap();
    }

    /// Its names but its own, sorted.
    pub(crate) async fn more_names(&self) -> Vec<String> {
        let image = docker().inspect_image(&self.id).await.unwrap();
        let mut names = image.repo_tags.unwrap_or_default();
        names.retain(|n| *n != self.name);
        names.sort();
        names
    }
}

impl Drop for TestImage {
    fn drop(&mut self) {
        let id = self.id.clone();
        let removed = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let force = RemoveImageOptionsBuilder::new().force(true).build();
                docker().remove_image(&id, Some(force), None).await
            })
        });
        let removed = removed.join();
        if !std::thread::panicking() {
            removed.unwrap().unwrap();
        }
    }
}

/// The image that a name means on the host.
pub(crate) async fn holder(of: &ImageRef) -> Option<String> {
    docker().inspect_image(&of.to_string()).await.ok()?.id
}

/// Waits until an image has another name than its own, as while it is pushed.
pub(crate) async fn lent(image: &TestImage, to: &ImageRef) {
    for _ in 0..500 {
        if image.more_names().await.contains(&to.to_string()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{to} was not lent");
}

/// A registry that takes connections and says nothing.
pub(crate) async fn silent() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("localhost:{}", listener.local_addr().unwrap().port());
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (host, task)
}

/// A step whose names are put back when it was killed.
pub(crate) fn step() -> TestStep {
    TestStep::new()
}
