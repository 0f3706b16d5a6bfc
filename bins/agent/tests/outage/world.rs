//! A server, its agents if there are any, and whoever submits builds to it.

use crate::{
    base::output,
    builds::{Build, KEPT, Patience, Shape, shapes},
    store::Store,
};
use kiln::{BuildId, Recorded};
use kiln_api_native::Submitted;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// How long anything may take once the store is there.
const LONG: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(200);

/// Who drives builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drivers {
    Server,
    Agents,
}

/// A process that is killed with its test, and tells its last words if that failed.
#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let file = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).env("KILN_LOG", "info");
        Self { child: command.spawn().unwrap(), log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{} said:\n{}", self.log.display(), self.said());
        }
    }
}

/// Whoever asks the server.
#[derive(Clone, Debug)]
struct Asker {
    http: Client,
    url: String,
    token: String,
    source: String,
}

#[derive(Debug)]
pub(crate) struct World {
    asker: Asker,
    processes: Vec<Process>,
    /// Gone with the world.
    dir: tempfile::TempDir,
}

/// Makes a token by the server's own command.
fn token(program: &Path, data: &Path, name: &str, scope: &str) -> String {
    let mut command = Command::new(program);
    command.arg("--data").arg(data).args(["token", "create", name, "--scope", scope]);
    let made = command.env_remove("KILN_CONFIG").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

impl World {
    pub(crate) async fn start(program: PathBuf, store: &Store, drivers: Drivers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("server");
        let slots = if drivers == Drivers::Server { 6 } else { 0 };
        let settings = format!("name = \"server\"\nslots = {slots}\n{}", store.settings());
        let file = dir.path().join("kiln.toml");
        fs::write(&file, settings).unwrap();
        let admin = token(&program, &data, "tester", "admin");
        let agents = token(&program, &data, "agents", "agent");
        let command = || {
            let mut command = Command::new(&program);
            command.arg("--data").arg(&data).arg("--config").arg(&file);
            command.args(["--listen", "127.0.0.1:0"]).env_remove("KILN_CONFIG");
            command.envs(store.variables());
            command
        };
        let (server, url) = serve(command, &dir.path().join("server.log")).await;
        let http = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let asker = Asker { http, url, token: admin, source: String::new() };
        let mut world = Self { asker, processes: vec![server], dir };
        if drivers == Drivers::Agents {
            world.agent("one", &agents);
            world.agent("two", &agents);
        }
        world.asker.source = world.upload().await;
        world
    }

    fn agent(&mut self, name: &str, token: &str) {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("token"), token).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln-agent"));
        command.args(["--server", &self.asker.url, "--name", name, "--slots", "4"]);
        command.arg("--token-file").arg(dir.join("token")).arg("--data").arg(dir.join("data"));
        command.env("HOME", &dir).env("DOCKER_CONFIG", dir.join("docker"));
        self.processes.push(Process::start(command, dir.join("log")));
    }

    /// Sends what every build fetches.
    async fn upload(&self) -> String {
        let dir = self.dir.path().join("context");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), KEPT).unwrap();
        let archive = self.dir.path().join("context.tar");
        let (from, to) = (dir.to_str().unwrap(), archive.to_str().unwrap());
        assert!(output("tar", &["-C", from, "-cf", to, "file"]).status.success());
        let ask = self.asker.ask(self.asker.http.post(self.asker.at("contexts")));
        let ask = ask.header("content-type", "application/x-tar").body(fs::read(archive).unwrap());
        let told: Value = ask.send().await.unwrap().json().await.unwrap();
        told["source"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
    }

    /// Submits the builds that an outage comes upon.
    pub(crate) async fn submit(&self, name: &str, outage: Duration) -> Vec<Build> {
        let mut all = Vec::new();
        for (n, shape) in shapes(outage).iter().enumerate() {
            all.push(self.asker.submit(&format!("{name}-{n}"), shape).await);
        }
        all
    }

    /// Waits for as long as an outage, in which somebody begins to submit one more.
    pub(crate) async fn submit_meanwhile(&self, name: &str, outage: Duration) -> JoinHandle<Build> {
        let (asker, name) = (self.asker.clone(), name.to_owned());
        let sent = tokio::spawn(async move { asker.submit(&name, &Shape(vec![10])).await });
        sleep(outage).await;
        sent
    }

    /// Waits until all print.
    pub(crate) async fn begun(&self, builds: &[Build]) {
        let patience = Patience::of(LONG);
        for build in builds {
            while !self.asker.log(&build.id).await.iter().any(|r| r["stream"] == "stdout") {
                patience.expect(|| format!("{build:?} prints nothing"));
                sleep(PAUSE).await;
            }
        }
    }

    /// Waits for the end of each, and checks it.
    pub(crate) async fn all_end_well(&self, builds: impl Iterator<Item = Build>) {
        let patience = Patience::of(LONG);
        for build in builds {
            let id = &build.id;
            // By the list too, which is kept beside the journals.
            let is_over = |view: &Value| view["phase"] == "finished";
            loop {
                let listed = self.asker.told(&format!("builds?prefix={id}")).await;
                if listed.as_ref().is_some_and(|l| {
                    l["builds"].as_array().is_some_and(|all| all.iter().any(is_over))
                }) {
                    break;
                }
                patience.expect(|| format!("{build:?} does not end: {listed:#?}"));
                sleep(PAUSE).await;
            }
            let journal = self.asker.told(&format!("builds/{id}/journal")).await.unwrap();
            let journal: Vec<Recorded> = serde_json::from_value(journal).unwrap();
            build.check_journal(&journal);
            build.check_log(&self.asker.log(id).await);
            let kept = self.asker.get(&format!("builds/{id}/artifacts/kept")).await;
            assert_eq!(kept.as_deref(), Some(KEPT), "{build:?}");
        }
    }
}

/// Starts a server, again and again while its store is not ready; where it is.
async fn serve(command: impl Fn() -> Command, log: &Path) -> (Process, String) {
    let patience = Patience::of(LONG);
    loop {
        let mut process = Process::start(command(), log.to_owned());
        loop {
            let said = process.said();
            if let Some(rest) = said.split_once("address=").map(|(_, rest)| rest)
                && let Some((address, _)) = rest.split_once(char::is_whitespace)
            {
                return (process, format!("http://{address}"));
            }
            patience.expect(|| format!("the server is not ready: {said}"));
            sleep(PAUSE).await;
            if process.child.try_wait().unwrap().is_some() {
                break;
            }
        }
    }
}

impl Asker {
    fn at(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.url)
    }

    fn ask(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.token)
    }

    /// What an answer of success says; nothing if it was another one, or none came.
    async fn get(&self, path: &str) -> Option<String> {
        let answer = self.ask(self.http.get(self.at(path))).send().await.ok()?;
        let is_good = answer.status().is_success();
        answer.text().await.ok().filter(|_| is_good)
    }

    async fn told(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.get(path).await?).ok()
    }

    /// The log so far, as its records.
    async fn log(&self, build: &BuildId) -> Vec<Value> {
        let text = self.get(&format!("builds/{build}/logs")).await.unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Submits as one does that must not lose a build nor make two of it.
    async fn submit(&self, key: &str, shape: &Shape) -> Build {
        let patience = Patience::of(LONG);
        let body = serde_json::json!({ "plan": shape.plan(&self.source) });
        loop {
            let request = self.ask(self.http.post(self.at("builds")));
            let answer = request.header("idempotency-key", key).json(&body).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => {
                    if let Ok(Submitted { build, .. }) = answer.json().await {
                        return shape.submitted(build);
                    }
                }
                Ok(answer) if answer.status() < StatusCode::INTERNAL_SERVER_ERROR => {
                    panic!("{}: {:?}", answer.status(), answer.text().await)
                }
                _ => {}
            }
            patience.expect(|| format!("{key} is not taken"));
            sleep(PAUSE).await;
        }
    }
}
