//! What is said of a registry of steps.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A registry of steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// Where it is, with `https:`, such as `https://steps.wercker.com`.
    pub url: String,
    /// What it is asked.
    #[serde(default)]
    pub api: Api,
    /// Whether it may be on a private network or on this machine.
    #[serde(default)]
    pub allow_private_network: bool,
    /// Whether the URL may be one with `http:`, which sends the token in the open.
    #[serde(default)]
    pub allow_http: bool,
    /// How many milliseconds one request may take, its answer included.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

/// Which requests a registry understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/api/steps/…`, and then `/api/v2/steps/…` where there is no such step.
    #[default]
    Any,
    /// `/api/steps/{owner}/{name}/{version}` alone.
    Steps,
    /// `/api/v2/steps/{owner}/{name}/{version}` alone, which is older.
    V2,
}

fn timeout_ms() -> u64 {
    15_000
}

impl RegistryConfig {
    /// A public registry.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            api: Api::Any,
            allow_private_network: false,
            allow_http: false,
            timeout_ms: timeout_ms(),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
