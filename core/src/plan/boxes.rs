//! Boxes: the containers that a plan's commands run in, and the services beside them.

use crate::{
    BoxName, RelPath,
    image::ImageRef,
    secret::{SecretRef, Value},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

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
    /// Directories shared with the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Containers that run beside the box, reachable by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<BoxName, ServiceSpec>,
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
            mounts: Vec::new(),
            services: BTreeMap::new(),
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
    /// Its command; the image's own without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// Its limits.
    #[serde(default)]
    pub resources: Resources,
    /// Credentials to pull the image with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
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
