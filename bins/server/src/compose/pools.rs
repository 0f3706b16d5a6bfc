//! The nodes that are driven from here: this machine, and Docker hosts without an agent.

use super::{Effects, Memory, driving, engine};
use crate::{
    config::{Config, Pool},
    telemetry::Metrics,
};
use kiln::{
    Engine, Error, ErrorKind, NodeId, Resources, Result,
    port::{Fleet, Node, Queue},
};
use kiln_docker::HomeId;
use std::{collections::BTreeMap, sync::Arc};

/// A node that this process drives the builds of.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) engine: Engine,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) node: Node,
    /// What is asked whether the node is there; nothing for this machine.
    pub(crate) host: Option<Effects>,
}

/// All of them.
pub(crate) fn members(
    config: &Config,
    local: &Engine,
    memory: &Memory,
    metrics: &Metrics,
    home: &HomeId,
    name: NodeId,
) -> Result<Vec<Member>> {
    let node = |id, slots, labels, resources| Node {
        id,
        labels,
        slots,
        resources,
        drained: false,
        seen_at: local.tools().clock.now(),
    };
    let member = |engine, node, host| Member {
        engine,
        queue: memory.queue.clone(),
        fleet: memory.fleet.clone(),
        node,
        host,
    };
    let mut members = Vec::new();
    if config.slots > 0 {
        let here = node(name, config.slots, BTreeMap::new(), Resources::default());
        members.push(member(local.clone(), here, None));
    }
    for pool in &config.pool {
        let Pool { name, slots, labels, cpu_millis, memory_bytes, .. } = pool.clone();
        let id = NodeId::new(&name)
            .map_err(|e| Error::new(ErrorKind::Invalid, "kiln-server", e.to_string()))?;
        let effects = Effects::pooled(config, home, pool)?;
        let engine = driving(&engine(memory, effects.clone(), metrics, id.clone()));
        let there = node(id, slots, labels, Resources { cpu_millis, memory_bytes });
        members.push(member(engine, there, Some(effects)));
    }
    Ok(members)
}
