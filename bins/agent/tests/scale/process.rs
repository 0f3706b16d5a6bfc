//! This program once more, as a server or as an agent: what can be killed.

use crate::{runtime::Paced, stores::Stores};
use kiln::{NodeId, Resources, StopReason, Toolbox, port::Node};
use kiln_agent::{Agent, Stop};
use kiln_api_agent::{AgentApi, Scope};
use kiln_api_native::Api;
use kiln_files::FileWorkspaces;
use kiln_remote::{RemoteClient, RemoteConfig};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Read,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

/// What the process is to be, for the process itself.
const TOLD: &str = "KILN_TEST_SCALE";
/// How long a lease lasts without renewal.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// How many builds an agent drives at once.
const SLOTS: u16 = 2;

/// What a process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Server { address: String, stores: Stores },
    Agent { node: NodeId, server: String, dir: PathBuf, seed: u64 },
}

/// What this process was told, if it is a child; it ends when its parent does.
fn told() -> Option<Told> {
    let told = serde_json::from_str(&std::env::var(TOLD).ok()?).unwrap();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let filter = tracing_subscriber::EnvFilter::new("warn");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Some(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is a server of the other tests, which start it"]
async fn serve() {
    let Some(Told::Server { address, stores }) = told() else { return };
    let open = loop {
        match stores.open().await {
            Ok(open) => break open,
            Err(error) => {
                // Whoever runs a server starts it again when its database was not there.
                tracing::warn!(?error, "started again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let agents = kiln_api_agent::router(AgentApi {
        engine: open.engine.clone(),
        queue: open.queue.clone(),
        fleet: open.fleet.clone(),
        access: Arc::new(kiln_api_agent::Everybody(Scope::Agent)),
        hold_back: LEASE / 2,
    });
    let access = Arc::new(kiln_api_native::Everybody);
    let api = Api::new(open.engine, open.queue, access).fleet(open.fleet);
    let listener = loop {
        // The address may be taken for a moment still by the process before.
        match tokio::net::TcpListener::bind(&address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    axum::serve(listener, kiln_api_native::router(api).merge(agents)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is an agent of the other tests, which start it"]
async fn drive() {
    let Some(Told::Agent { node: id, server, dir, seed }) = told() else { return };
    let remote = RemoteConfig { node: Some(id.clone()), ..RemoteConfig::new(server) };
    let effects = Toolbox {
        workspaces: Arc::new(FileWorkspaces::open(dir.join("work")).unwrap()),
        runtime: Some(Arc::new(Paced { node: id.clone(), seed, dir: dir.clone() })),
        ..Toolbox::default()
    };
    let node = Node {
        id,
        labels: BTreeMap::new(),
        slots: SLOTS,
        resources: Resources::default(),
        drained: false,
        seen_at: effects.clock.now(),
    };
    let stop = Stop::default();
    let drain = stop.drain.clone();
    let terminate = tokio::signal::unix::SignalKind::terminate();
    let mut terminated = tokio::signal::unix::signal(terminate).unwrap();
    tokio::spawn(async move {
        terminated.recv().await;
        drain.cancel(StopReason::Cancel);
    });
    let agent = Agent {
        client: RemoteClient::new(&remote).unwrap(),
        effects,
        node,
        leases: dir.join("leases.json"),
        lease_time: LEASE,
        drain_time: Duration::from_secs(30),
        leftovers: None,
    };
    kiln_agent::run(agent, stop).await.unwrap();
}

/// A process that can be started more than once.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    told: Told,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that is not started yet; what it says goes to a file.
    pub(crate) fn new(name: String, told: Told, log: PathBuf) -> Self {
        Self { name, told, log, child: None }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let test = match self.told {
            Told::Server { .. } => "process::serve",
            Told::Agent { .. } => "process::drive",
        };
        let log = || OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
            .env(TOLD, serde_json::to_string(&self.told).unwrap())
            .stdin(Stdio::piped())
            // One that is paused cannot see its parent end; the kernel wakes a group that is orphaned.
            .process_group(0)
            .stdout(log())
            .stderr(log())
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
    }

    /// How it ended by itself, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().unwrap()
    }

    /// The last of what it said.
    pub(crate) fn said(&self) -> String {
        let all = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = all.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the last of {}:\n{}", self.name, self.said());
        }
        self.kill();
    }
}
