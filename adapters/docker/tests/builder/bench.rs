//! An engine to build with, a directory to build from, and what is left behind.

use kiln::{BuildSpec, Context, ImageRef, Recipe, Result, port::Builder};
use kiln_conformance::step::TestStep;
use kiln_docker::{BuilderChoice, DockerBuilder, DockerClient, DockerConfig, Host};
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};
use tokio::sync::{Mutex as Turns, MutexGuard};

/// Names are the engine's, so tests that use the same ones take turns.
static TURNS: Turns<()> = Turns::const_new(());
const BUSYBOX: &str = "/bin/busybox";

/// How a context goes to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Session,
    Archive,
    Classic,
}

pub(crate) const WAYS: [Way; 3] = [Way::Session, Way::Archive, Way::Classic];

/// A builder with a context of its own. What it names is removed at its end.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) builder: DockerBuilder,
    pub(crate) way: Way,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    /// A bench, or none where there is no engine; then it says so.
    pub(crate) async fn new(test: &str, way: Way) -> Option<Self> {
        Self::with(test, way, |_| {}).await
    }

    pub(crate) async fn with(
        test: &str,
        way: Way,
        set: impl FnOnce(&mut DockerConfig),
    ) -> Option<Self> {
        let skip = |why: &str| println!("SKIPPED: {test}: {why}");
        if std::env::var_os("KILN_TEST_REAL").is_none() {
            skip("KILN_TEST_REAL is not set");
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            skip("there is no /bin/busybox");
            return None;
        }
        let host = std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty());
        let mut config = DockerConfig {
            host: host.map_or_else(|| DockerConfig::default().host, |h| h.parse().unwrap()),
            builder: match way {
                Way::Classic => BuilderChoice::Classic,
                Way::Session | Way::Archive => BuilderChoice::BuildKit,
            },
            ..DockerConfig::default()
        };
        let Host::Unix(socket) = config.host.clone() else {
            skip("the engine is not at a socket");
            return None;
        };
        set(&mut config);
        let turn = TURNS.lock().await;
        let builder = DockerBuilder::new(DockerClient::new(config).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { builder, way, dir, socket, _turn: turn };
        bench.forget();
        Some(bench)
    }

    /// Writes a file of the context.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a shell and its tools into the context.
    pub(crate) fn busybox(&self) {
        fs::copy(BUSYBOX, self.dir.path().join("busybox")).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir.path().join("busybox"), mode).unwrap();
    }

    /// A build of the directory by this Dockerfile, on a base that has a shell.
    pub(crate) fn on_busybox(&self, rest: &str) -> BuildSpec {
        self.busybox();
        let base = format!("FROM scratch\nLABEL kiln.test={}\nCOPY busybox /bin/\n", Self::label());
        self.write("Dockerfile", format!("{base}COPY busybox /bin/sh\n{rest}\n"));
        self.spec()
    }

    /// What is built here is known by this, also when it has no name.
    fn label() -> String {
        format!("builder-{}", std::process::id())
    }

    /// A build of the directory as it is.
    pub(crate) fn spec(&self) -> BuildSpec {
        let path = self.dir.path().to_owned();
        let context = match self.way {
            Way::Archive => {
                let archive = path.with_extension("tar");
                let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
                tar.follow_symlinks(false);
                tar.append_dir_all(".", &path).unwrap();
                tar.finish().unwrap();
                Context::Archive { path: archive }
            }
            Way::Session | Way::Classic => Context::Directory { path },
        };
        let mut spec = BuildSpec::new(Recipe::Dockerfile { path: None }).context(context);
        // What is logged has to be new each time.
        spec.no_cache = true;
        spec.labels.insert("kiln.test".into(), Self::label());
        spec
    }

    /// Builds, and gives what was logged.
    pub(crate) async fn build(&self, spec: &BuildSpec) -> (Result<kiln::Image>, String) {
        let mut step = TestStep::new();
        let built = self.builder.build(step.cx(), spec).await;
        (built, step.text().await)
    }

    /// The id of the image that has a name now.
    pub(crate) fn id_of(&self, name: &ImageRef) -> Option<String> {
        let tag = name.tag_or_latest().unwrap();
        let name = format!("{}:{tag}", name.name());
        let (status, body) = self.engine("GET", &format!("/images/{name}/json"));
        let id = body.split_once("\"Id\":\"").and_then(|(_, rest)| rest.split('"').next());
        (status == 200).then(|| id.unwrap().to_owned())
    }

    /// One request to the engine without a body.
    pub(crate) fn engine(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: docker\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Removes the names that the suites use, and all that was built here.
    fn forget(&self) {
        for name in ["a:1", "b:latest", "failing:1", "twice:1", "stopped:1", "kept:1"] {
            self.engine("DELETE", &format!("/images/kiln-suite/{name}"));
        }
        let filter = format!("%7B%22label%22%3A%5B%22kiln.test%3D{}%22%5D%7D", Self::label());
        // An image goes with those that it alone is made of, so several rounds are needed at most.
        for _ in 0..10 {
            let all = self.engine("GET", &format!("/images/json?all=1&filters={filter}")).1;
            let ids: Vec<_> = all.split("\"Id\":\"").skip(1).collect();
            for id in &ids {
                let id = id.split('"').next().unwrap();
                self.engine("DELETE", &format!("/images/{id}?force=1"));
            }
            if ids.is_empty() {
                return;
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.forget();
        let _ = fs::remove_file(self.dir.path().with_extension("tar"));
    }
}
