//! What turns a `wercker.yml` into a plan here.

use kiln::{Error, ErrorKind, Result};
use kiln_wercker::{plan::WerckerPlanner, step::StepCache};
use kiln_wercker_registry::{HttpRegistry, RegistryConfig};
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};

/// Where steps are looked for.
const REGISTRY: &str = "https://steps.wercker.com";

/// A planner with the steps of a registry: the one that is named, or that of `STEPS_REGISTRY`, or
/// the public one. Each has a cache of its own, since another one may call other code the same.
pub(crate) fn planner(home: &Path, registry: Option<&str>) -> Result<WerckerPlanner> {
    let named = std::env::var("STEPS_REGISTRY").ok().filter(|url| !url.is_empty());
    let url = registry.map(str::to_owned).or(named).unwrap_or_else(|| REGISTRY.into());
    let mut config = RegistryConfig::new(&url);
    // It is the user's own network.
    config.allow_private_network = true;
    config.allow_http = is_near(&url);
    let client = HttpRegistry::new(&config).map_err(|e| {
        Error::new(ErrorKind::Invalid, "kiln", "the registry of steps cannot be used")
            .with("registry", shown(&url))
            .source(e)
            .hint("Name one with --steps-registry or STEPS_REGISTRY.")
    })?;
    let hash = Sha256::digest(url.trim_end_matches('/').as_bytes());
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let cache = StepCache::new(home.join("steps").join(name));
    Ok(WerckerPlanner::new(Arc::new(client), cache).address(url).local_steps())
}

/// Whether nobody is on the way: a registry on this machine may be one with `http:`.
fn is_near(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// An address without a login that may be in it.
fn shown(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit('@').next())) {
        Some((scheme, Some(rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registry_of_this_machine_is_asked_in_the_open() {
        for near in ["http://localhost:8080/x", "http://127.0.0.1", "http://[::1]:80/"] {
            assert!(is_near(near), "{near}");
        }
        for far in ["http://example.com", "http://localhost@example.com", "http://", "x"] {
            assert!(!is_near(far), "{far}");
        }
        let home = Path::new("/nonexistent");
        let e = planner(home, Some("http://user:hunter2@example.com")).unwrap_err();
        assert!(!format!("{e:?} {e}").contains("hunter2"), "{e:?}");
    }
}
