//! Where a step may run.

use super::Resources;
use crate::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a step asks of the node that runs it. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// This node and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Labels the node must have with just these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the node must have free.
    #[serde(default)]
    pub resources: Resources,
}

impl Placement {
    /// Whether this asks for nothing.
    pub fn is_anywhere(&self) -> bool {
        *self == Self::default()
    }

    /// The placement that satisfies both: one build runs on one node.
    ///
    /// Labels add up and the larger of each resource counts. `Err` names what contradicts.
    pub fn and(&self, other: &Self) -> Result<Self, String> {
        let node = match (&self.node, &other.node) {
            (Some(a), Some(b)) if a != b => return Err(format!("nodes `{a}` and `{b}`")),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let mut labels = self.labels.clone();
        for (key, value) in &other.labels {
            if let Some(old) = labels.insert(key.clone(), value.clone())
                && old != *value
            {
                return Err(format!("labels `{key}={old}` and `{key}={value}`"));
            }
        }
        let (a, b) = (self.resources, other.resources);
        let resources = Resources {
            cpu_millis: a.cpu_millis.max(b.cpu_millis),
            memory_bytes: a.memory_bytes.max(b.memory_bytes),
        };
        Ok(Self { node, labels, resources })
    }

    /// Whether a node with this name, these labels and these free resources satisfies this.
    pub fn fits(&self, node: &NodeId, labels: &BTreeMap<String, String>, free: Resources) -> bool {
        self.node.as_ref().is_none_or(|n| n == node)
            && self.labels.iter().all(|(k, v)| labels.get(k) == Some(v))
            && self.resources.cpu_millis <= free.cpu_millis
            && self.resources.memory_bytes <= free.memory_bytes
    }
}
