//! The settings. `docs/server.md` explains them.

mod place;
mod read;
mod retention;

pub(crate) use place::{Artifacts, Logs, Place, Queue, Store};
pub(crate) use read::Source;
pub(crate) use retention::{Retention, Rule};

use crate::listen::Address;
use kiln::{NotifierName, Result};
use kiln_api_forge::HookConfig;
use kiln_forge::{StatusConfig, WebhookConfig};
use kiln_mail::MailConfig;
use kiln_wercker::{plan::WerckerPlanner, step::StepCache};
use kiln_wercker_registry::{HttpRegistry, RegistryConfig};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

/// Every setting of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where everything is kept that is not kept elsewhere.
    pub(crate) data: PathBuf,
    /// The name of the node that this server is; what tells servers on one store apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// How many builds are driven side by side; none with 0, for agents to drive them.
    pub(crate) slots: u16,
    /// How many seconds running builds have to end after a SIGTERM; then they are left to the
    /// next start, or to another server.
    pub(crate) drain_seconds: u64,
    pub(crate) listen: Listen,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) logs: Logs,
    pub(crate) artifacts: Artifacts,
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) docker: Docker,
    pub(crate) git: Git,
    pub(crate) wercker: Wercker,
    pub(crate) secrets: Secrets,
    pub(crate) telemetry: Telemetry,
    pub(crate) retention: Retention,
    /// How many builds with the same value of a label are driven side by side, by label.
    pub(crate) limits: BTreeMap<String, u32>,
    /// What forges send, by the name in the URL.
    pub(crate) hooks: BTreeMap<String, HookConfig>,
    /// Who is told how builds go, by a name that stays.
    pub(crate) notify: BTreeMap<NotifierName, Notify>,
    /// Docker hosts that have no agent and are driven from here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pool: Vec<Pool>,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// The native API.
    pub(crate) native: Address,
    /// What agents ask; the native API's listener without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<Address>,
    /// `/metrics`, `/healthz` and `/readyz`, which need no token there; `/metrics` is nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<Address>,
}

/// The certificate of every listener that is no unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate and those that vouch for it, in PEM.
    pub(crate) certificate: PathBuf,
    /// Its key, in PEM.
    pub(crate) key: PathBuf,
}

/// Which engine builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Docker {
    /// As `DOCKER_HOST` has it; that variable, or the local socket, without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
}

/// A node that is a Docker engine without an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    /// The name of the node.
    pub(crate) name: String,
    /// As `DOCKER_HOST` has it.
    pub(crate) docker_host: String,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`, where the engine wants TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert_path: Option<PathBuf>,
    /// How many builds it runs side by side.
    #[serde(default = "one")]
    pub(crate) slots: u16,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// What it has, in thousandths of a core; not limited without it.
    #[serde(default)]
    pub(crate) cpu_millis: u32,
    /// What it has, in bytes; not limited without it.
    #[serde(default)]
    pub(crate) memory_bytes: u64,
}

fn one() -> u16 {
    1
}

/// Where in a PostgreSQL tables are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Postgres {
    /// The schema, which is made where it is not there.
    pub(crate) schema: String,
}

impl Default for Postgres {
    fn default() -> Self {
        Self { schema: "kiln".into() }
    }
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Notify {
    /// A receiver of signed requests.
    Webhook(WebhookConfig),
    /// A forge, of the state of commits.
    Status(StatusConfig),
    /// People.
    Mail(MailConfig),
}

/// What a Redis has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Redis {
    /// What it has to keep for journals to be put there.
    pub(crate) durability: Durability,
}

/// What a Redis that keeps journals may lose in a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    /// Nothing: `appendfsync always`.
    Always,
    /// The last second: `appendfsync everysec`.
    #[default]
    EverySecond,
    /// Everything.
    Nothing,
}

impl Redis {
    pub(crate) fn require(&self) -> kiln_redis::Require {
        match self.durability {
            Durability::Always => kiln_redis::Require::Always,
            Durability::EverySecond => kiln_redis::Require::EverySecond,
            Durability::Nothing => kiln_redis::Require::Nothing,
        }
    }
}

/// What sources may be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Git {
    /// Whether repositories of private networks and of this machine may be fetched.
    pub(crate) allow_private_network: bool,
    /// Whether `file:` URLs may be read.
    pub(crate) allow_file: bool,
}

/// Where the steps of pipelines come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wercker {
    /// The address of the registry of steps.
    pub(crate) registry: String,
    /// Whether it may be on a private network or on this machine.
    pub(crate) allow_private_network: bool,
    /// Whether its address may be one with `http:`, where everybody on the way can change steps.
    pub(crate) allow_http: bool,
}

impl Default for Wercker {
    fn default() -> Self {
        let registry = "https://steps.wercker.com".into();
        Self { registry, allow_private_network: false, allow_http: false }
    }
}

impl Wercker {
    /// The planner of pipelines, with its steps kept in a directory. Paths of this machine are
    /// nothing that a file may name.
    pub(crate) fn planner(&self, steps: PathBuf) -> Result<WerckerPlanner> {
        let mut registry = RegistryConfig::new(&self.registry);
        registry.allow_private_network = self.allow_private_network;
        registry.allow_http = self.allow_http;
        let client = HttpRegistry::new(&registry)
            .map_err(|e| read::invalid("`wercker.registry` cannot be used").source(e))?;
        let planner = WerckerPlanner::new(Arc::new(client), StepCache::new(steps));
        Ok(planner.address(&self.registry))
    }
}

/// What plans may refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Secrets {
    /// The directory with a file `OWNER/NAME` for each secret; there are none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dir: Option<PathBuf>,
}

/// What the server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    pub(crate) format: Format,
    /// The OTLP endpoint (HTTP, protobuf) that traces go to, such as `http://localhost:4318`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) otlp: Option<String>,
}

/// The form of the server's own log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("/var/lib/kiln"),
            name: None,
            slots: 2,
            drain_seconds: 30,
            listen: Listen::default(),
            tls: None,
            store: Store::default(),
            queue: Queue::default(),
            logs: Logs::default(),
            artifacts: Artifacts::default(),
            postgres: Postgres::default(),
            redis: Redis::default(),
            docker: Docker::default(),
            git: Git::default(),
            wercker: Wercker::default(),
            secrets: Secrets::default(),
            telemetry: Telemetry::default(),
            retention: Retention::default(),
            limits: BTreeMap::new(),
            hooks: BTreeMap::new(),
            notify: BTreeMap::new(),
            pool: Vec::new(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let native = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 7070)));
        Self { native, agent: None, metrics: None }
    }
}

/// Settings of which each has a value: what a file may hold.
fn example() -> Config {
    let somewhere = || Some(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 1))));
    let pool = Pool {
        name: "b".into(),
        docker_host: "tcp://a:2376".into(),
        cert_path: Some("/c".into()),
        slots: 1,
        labels: BTreeMap::from([("zone".into(), "a".into())]),
        cpu_millis: 4000,
        memory_bytes: 8 << 30,
    };
    Config {
        name: Some("a".into()),
        listen: Listen { agent: somewhere(), metrics: somewhere(), ..Listen::default() },
        tls: Some(Tls { certificate: "/c".into(), key: "/k".into() }),
        store: Store { url: Some(Place::of("sqlite:/a")), url_file: Some("/u".into()) },
        queue: Queue { url: Some(Place::of("sqlite:/a")), url_file: Some("/u".into()) },
        logs: Logs { url: Some(Place::of("files:/a")), url_file: Some("/u".into()), archive: true },
        artifacts: Artifacts {
            url: Some(Place::of("files:/a")),
            url_file: Some("/u".into()),
            credentials: Some("/c".into()),
        },
        docker: Docker { host: Some("unix:///d".into()) },
        secrets: Secrets { dir: Some("/s".into()) },
        telemetry: Telemetry { otlp: Some("http://o".into()), ..Telemetry::default() },
        retention: retention::example(),
        // Empty: any name may be chosen.
        limits: BTreeMap::new(),
        pool: vec![pool],
        ..Config::default()
    }
}

impl Config {
    /// What no type can say.
    fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(read::invalid(what));
        let names = self.name.iter().chain(self.pool.iter().map(|p| &p.name));
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if let Err(e) = kiln::NodeId::new(name) {
                return invalid(e.to_string());
            }
            if !seen.insert(name) {
                return invalid(format!("two nodes have the name `{name}`"));
            }
        }
        if self.pool.iter().any(|p| p.slots == 0) {
            return invalid("`pool.slots` is 0: that node would never run a build".into());
        }
        self.retention.check()
    }
}
