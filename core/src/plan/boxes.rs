//! Boxes: the containers that a plan's commands run in, and the services beside them.

use super::PlanError;
use crate::{
    BoxName, RelPath,
    image::ImageRef,
    secret::{SecretRef, Value},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

/// A container that lives as long as the build and in which steps run commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxSpec {
    /// The image; pulled if the host has none of that name.
    pub image: ImageRef,
    /// Variables of every command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Value>,
    /// The working directory of commands; the image's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The user of commands, as the runtime writes it; the image's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Directories shared with the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Containers that run beside the box, reachable by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<BoxName, ServiceSpec>,
    /// Whether commands get the variables by which Docker's links told of services: for a service
    /// `db` with port 5432 these are `DB_NAME`, `DB_PORT`, `DB_PORT_5432_TCP`, the same with
    /// `_ADDR`, `_PORT` and `_PROTO`, and `DB_ENV_X` for each variable `X` of the service. What the
    /// box or the command sets itself wins.
    #[serde(default, skip_serializing_if = "is_false")]
    pub link_env: bool,
    /// Ports of the box that can be reached from its host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Limits of the box.
    #[serde(default)]
    pub resources: Resources,
    /// Credentials to pull the image with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
}

impl BoxSpec {
    /// A box of an image with nothing else asked for.
    pub fn new(image: ImageRef) -> Self {
        Self {
            image,
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            mounts: Vec::new(),
            services: BTreeMap::new(),
            link_env: false,
            ports: Vec::new(),
            resources: Resources::default(),
            credentials: None,
        }
    }
}

/// A container beside a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The image; pulled if the host has none of that name.
    pub image: ImageRef,
    /// Its variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Value>,
    /// Its entry point; the image's own without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its command; the image's own without it, and none if there is an entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// Its limits.
    #[serde(default)]
    pub resources: Resources,
    /// Credentials to pull the image with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
}

impl ServiceSpec {
    /// A service of an image with nothing else asked for.
    pub fn new(image: ImageRef) -> Self {
        Self {
            image,
            env: BTreeMap::new(),
            entrypoint: Vec::new(),
            argv: Vec::new(),
            resources: Resources::default(),
            credentials: None,
        }
    }
}

/// A port of a box that can be reached from its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port in the box; not 0.
    pub port: u16,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port of the host; one that is free without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// The address of the host; 127.0.0.1 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl Port {
    /// A TCP port, at a free one of the host's own loopback.
    pub fn new(port: u16) -> Self {
        Self { port, protocol: Protocol::default(), host_port: None, address: None }
    }

    /// The address of the host at which it is published.
    pub fn address(&self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// What is spoken on a port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the field's own words")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What is wrong with a box before anybody starts it.
pub(super) fn check(name: &BoxName, spec: &BoxSpec) -> Result<(), PlanError> {
    let bad = |problem| Err(PlanError::BadBox { name: name.clone(), problem });
    if spec.user.as_ref().is_some_and(|u| u.is_empty() || u.contains(char::is_control)) {
        return bad("its user has no name, or one with control characters".to_owned());
    }
    let mut seen = BTreeSet::new();
    for port in &spec.ports {
        if port.port == 0 || port.host_port == Some(0) {
            return bad(
                "there is no port 0; leave out the host's port to get a free one".to_owned()
            );
        }
        let at = port.host_port.map(|p| (port.address(), p, port.protocol));
        if at.is_some_and(|at| !seen.insert(at)) {
            let host_port = port.host_port.unwrap_or_default();
            return bad(format!("the port {host_port} of the host is asked for twice"));
        }
    }
    Ok(())
}

/// A directory shared with a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is shared.
    pub source: MountSource,
    /// Where it appears: an absolute path in the box.
    pub target: String,
    /// Whether the box may only read it.
    #[serde(default)]
    pub read_only: bool,
}

/// What a mount shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A directory of the build's workspace.
    Workspace(RelPath),
    /// A directory of the host. Refused unless the engine allows local paths.
    Directory(PathBuf),
}

/// An amount of what a machine has. Zero means: no limit, or nothing asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of one processor.
    #[serde(default)]
    pub cpu_millis: u32,
    /// Bytes of memory.
    #[serde(default)]
    pub memory_bytes: u64,
}
