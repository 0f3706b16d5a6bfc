//! From settings to adapters: which ones, and where they keep things.

mod effects;
mod memory;
mod pools;

pub(crate) use effects::Effects;
pub(crate) use memory::{HOLD_BACK, Memory};
pub(crate) use pools::{Member, members};

use crate::{config::Config, notify, retention::Room, telemetry::Metrics};
use kiln::{
    Attempts, Engine, Error, ErrorKind, NodeId, Result,
    archive::ArchivedLogs,
    courier::{Courier, Notifiers},
    layer::{Retry, Trace},
    memory::SystemClock,
    port,
};
use kiln_docker::HomeId;
use std::{fs, os::unix::fs::DirBuilderExt, sync::Arc, time::Duration};

/// How long a store may be away before a build is given up for its driver.
const OUTAGE_MAX: Duration = Duration::from_secs(300);
/// The longest wait between two tries, and how many of them are [`OUTAGE_MAX`].
const WAIT_MAX: Duration = Duration::from_secs(5);
const TRIES: Attempts = Attempts { max: 66, backoff_ms: 50 };

/// What the server is made of.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Accepts builds, and drives them on this machine.
    pub(crate) engine: Engine,
    /// What waits for a driver.
    pub(crate) queue: Arc<dyn port::Queue>,
    /// Who drives.
    pub(crate) fleet: Arc<dyn port::Fleet>,
    /// Those who drive from here.
    pub(crate) members: Vec<Member>,
    /// Tells those who are to be told.
    pub(crate) courier: Option<Courier>,
    /// Where logs are written before they move, and what moves them, where they do.
    pub(crate) archive: Option<(Arc<dyn port::LogSink>, Arc<ArchivedLogs>)>,
    /// The bucket with the artifacts, where they are in one.
    pub(crate) bucket: Option<kiln_s3::S3Artifacts>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Whether more may be kept.
    pub(crate) room: Room,
}

/// Makes every part. Nothing runs yet.
pub(crate) async fn compose(config: &Config) -> Result<Parts> {
    let data = &config.data;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|e| {
        Error::new(ErrorKind::Unexpected, "kiln-server", "the data directory cannot be used")
            .with("path", data.display())
            .source(e)
            .hint("Choose another with --data or KILN_DATA.")
    })?;
    let (metrics, room) = (Metrics::default(), Room::default());
    let clock: Arc<dyn port::Clock> = Arc::new(SystemClock::default());
    let mut memory = Memory::of(config).await?.watched(&metrics, &room);
    let notifiers = notify::notifiers(config, &memory.secrets, &clock, &memory.index)?;
    if config.logs.archive {
        memory = memory.archived();
    }
    let (memory, errands) = memory.noted(config, &notifiers).await?;
    let home = HomeId::kept_in(&data.join("id"))?;
    let effects = Effects::local(config, &home)?;
    let name = node_name(config, memory.is_shared)?;
    let courier =
        errands.map(|errands| courier(&name, &memory, errands, notifiers, clock)).transpose()?;
    let engine = engine(&memory, effects, &metrics, name.clone());
    let members = members(config, &driving(&engine), &memory, &metrics, &home, name)?;
    let Memory { queue, fleet, bucket, archive, .. } = memory;
    Ok(Parts { engine, queue, fleet, members, courier, archive, bucket, metrics, room })
}

/// A courier of this server, under a name that no node has.
fn courier(
    name: &NodeId,
    memory: &Memory,
    errands: Arc<dyn port::Queue>,
    notifiers: Notifiers,
    clock: Arc<dyn port::Clock>,
) -> Result<Courier> {
    let name = format!("courier.{}", name.as_str().chars().take(50).collect::<String>());
    let name = NodeId::new(name)
        .map_err(|e| Error::new(ErrorKind::Invalid, "kiln-server", e.to_string()))?;
    Ok(Courier::new(name, memory.store.clone(), errands, notifiers, clock))
}

/// An engine that drives: what remembers may be out of reach for a while, and is waited for. Whoever
/// asks something of this server is told at once instead.
fn driving(engine: &Engine) -> Engine {
    let tools = engine.tools().clone();
    let retry = Retry::new(tools.clock.clone(), TRIES).wait_max(WAIT_MAX);
    Engine::builder().toolbox(tools.layer_memory(&retry)).outage_max(OUTAGE_MAX).build()
}

/// An engine with this memory and these effects, which tells of what it does.
fn engine(memory: &Memory, effects: Effects, metrics: &Metrics, node: NodeId) -> Engine {
    let tools = effects.tools(memory, node);
    let trace = Trace::new(Arc::new(SystemClock::default()));
    let meter = metrics.meter();
    let tools = tools.layer_effects(&meter).layer_memory(&meter);
    let tools = tools.layer_effects(&trace).layer_memory(&trace);
    Engine::builder().toolbox(tools).build()
}

/// What this server is called among those who drive. Alone it is `local`; beside others it goes
/// by the name of its machine.
fn node_name(config: &Config, is_shared: bool) -> Result<NodeId> {
    let host = || {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        name.split('.').next().unwrap_or_default().to_owned()
    };
    let name = match (&config.name, is_shared) {
        (Some(name), _) => name.clone(),
        (None, false) => "local".into(),
        (None, true) => host(),
    };
    NodeId::new(&name).map_err(|e| {
        Error::new(ErrorKind::Invalid, "kiln-server", e.to_string())
            .hint("Choose a name for this server with `name` or KILN_NAME.")
    })
}
