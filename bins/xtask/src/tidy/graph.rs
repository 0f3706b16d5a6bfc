//! Who may know whom: the direction of dependencies, from `cargo metadata`.

use super::Finding;
use crate::error::Result;
use crate::layout::{Layout, cargo_metadata, cargo_tree};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What core may not reach, however far away: runtimes, HTTP, TLS, databases, vendors.
const NOT_IN_CORE: &[&str] = &[
    "async-io",
    "async-std",
    "aws-lc-rs",
    "axum",
    "bollard",
    "deadpool-postgres",
    "git2",
    "gix",
    "h2",
    "hyper",
    "kube",
    "mio",
    "native-tls",
    "object_store",
    "oci-client",
    "openssl",
    "redis",
    "reqwest",
    "ring",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tokio",
    "tokio-postgres",
    "tonic",
    "tower",
    "ureq",
];

/// Clients of one vendor each; an adapter has at most one.
const VENDORS: &[&str] = &[
    "bollard",
    "git2",
    "kube",
    "object_store",
    "oci-client",
    "redis",
    "reqwest",
    "rusqlite",
    "tokio-postgres",
];

/// A part of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Core,
    Conformance,
    Adapter,
    Binary,
    Xtask,
    /// Tests, examples, benches: they see everything but the binaries.
    Outside,
}

impl Room {
    fn of(path: &str) -> Self {
        match path.split_once('/').unwrap_or((path, "")) {
            ("core", _) => Self::Core,
            ("tests", "conformance") => Self::Conformance,
            ("adapters", _) => Self::Adapter,
            ("bins", "xtask") => Self::Xtask,
            ("bins", _) => Self::Binary,
            _ => Self::Outside,
        }
    }

    /// Whether it may depend on that room. `dev`: for its tests only.
    fn may_know(self, other: Self, dev: bool) -> bool {
        match (self, other) {
            (_, Self::Conformance) if dev => true,
            (Self::Conformance | Self::Adapter, Self::Core) => true,
            (Self::Binary, Self::Core | Self::Adapter) => true,
            (Self::Outside, Self::Core | Self::Adapter | Self::Conformance) => true,
            _ => false,
        }
    }
}

/// A crate of the workspace, as far as this matters.
#[derive(Debug)]
struct Member {
    name: String,
    path: String,
    /// Names, and whether they are for tests only.
    needs: Vec<(String, bool)>,
}

impl Member {
    /// Whether it is an adapter that brings another one its client: `adapters/NAME-PART` implements
    /// what `adapters/NAME` defines.
    fn is_part_of(&self, members: &[Self], name: &str) -> bool {
        let other = members.iter().find(|m| m.name == name).map(|m| m.path.as_str());
        let part = other.and_then(|path| self.path.strip_prefix(path));
        Room::of(&self.path) == Room::Adapter && part.is_some_and(|part| part.starts_with('-'))
    }
}

/// Checks every dependency between crates of the workspace, and what core reaches.
pub(super) fn check(layout: &Layout) -> Result<Vec<Finding>> {
    let metadata = cargo_metadata(&layout.root, &["--locked"])?;
    let members = members(&metadata, &layout.root);
    let mut findings = directions(&members);
    findings.extend(vendors(&members));
    for name in core_reaches(layout)? {
        if NOT_IN_CORE.contains(&name.as_str()) {
            findings.push(Finding::new(
                "core",
                format!("reaches {name}; `cargo tree -p kiln -i {name}`"),
            ));
        }
    }
    Ok(findings)
}

fn members(metadata: &Value, root: &Path) -> Vec<Member> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = packages.iter().filter(|package| package["source"].is_null());
    own.filter_map(|package| {
        let manifest = Path::new(package["manifest_path"].as_str()?);
        let path = manifest.parent()?.strip_prefix(root).ok()?;
        let needs = package["dependencies"].as_array()?.iter().filter_map(|need| {
            Some((need["name"].as_str()?.to_owned(), need["kind"].as_str() == Some("dev")))
        });
        Some(Member {
            name: package["name"].as_str()?.to_owned(),
            path: path.to_string_lossy().replace('\\', "/"),
            needs: needs.collect(),
        })
    })
    .collect()
}

fn directions(members: &[Member]) -> Vec<Finding> {
    let rooms: BTreeMap<_, _> =
        members.iter().map(|m| (m.name.as_str(), Room::of(&m.path))).collect();
    let mut findings = Vec::new();
    for member in members {
        let room = Room::of(&member.path);
        for (name, dev) in &member.needs {
            let Some(other) = rooms.get(name.as_str()) else { continue };
            if !room.may_know(*other, *dev) && !member.is_part_of(members, name) {
                let what = format!("may not depend on {name}: house rule \"who may know whom\"");
                findings.push(Finding::new(format!("{}/Cargo.toml", member.path), what));
            }
        }
    }
    findings
}

fn vendors(members: &[Member]) -> Vec<Finding> {
    let adapters = members.iter().filter(|member| Room::of(&member.path) == Room::Adapter);
    adapters
        .filter_map(|member| {
            let needs = member.needs.iter().filter(|(_, dev)| !dev).map(|(name, _)| name.as_str());
            let clients: BTreeSet<_> = needs.filter(|name| VENDORS.contains(name)).collect();
            let list = clients.iter().copied().collect::<Vec<_>>().join(" and ");
            (clients.len() > 1).then(|| {
                Finding::new(
                    format!("{}/Cargo.toml", member.path),
                    format!("knows {list}; an adapter knows one vendor"),
                )
            })
        })
        .collect()
}

/// The names of all crates that core is built from, itself included.
fn core_reaches(layout: &Layout) -> Result<Vec<String>> {
    let args = ["-p", "kiln", "-e", "normal", "--target", "all", "--all-features"];
    let tree = cargo_tree(layout, &args)?;
    Ok(tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, path: &str, needs: &[(&str, bool)]) -> Member {
        let needs = needs.iter().map(|(name, dev)| ((*name).to_owned(), *dev)).collect();
        Member { name: name.into(), path: path.into(), needs }
    }

    fn bad(member_path: &str, need: &str, dev: bool) -> bool {
        let all = [
            member("kiln", "core", &[]),
            member("kiln-conformance", "tests/conformance", &[]),
            member("kiln-docker", "adapters/docker", &[]),
            member("kiln-cli", "bins/cli", &[]),
            member("this", member_path, &[(need, dev), ("serde", false)]),
        ];
        !directions(&all).is_empty()
    }

    #[test]
    fn dependencies_point_inwards() {
        for (path, need, dev) in [
            ("core", "kiln-docker", false),
            ("core", "kiln-conformance", false),
            ("adapters/git", "kiln-docker", false),
            ("adapters/git", "kiln-docker", true),
            ("adapters/git", "kiln-conformance", false),
            ("adapters/docker2", "kiln-docker", false),
            ("bins/docker-x", "kiln-cli", false),
            ("tests/conformance", "kiln-docker", true),
            ("bins/agent", "kiln-cli", false),
            ("bins/agent", "kiln-conformance", false),
            ("bins/xtask", "kiln", false),
            ("examples", "kiln-cli", false),
        ] {
            assert!(bad(path, need, dev), "{path} may not depend on {need}");
        }
        for (path, need, dev) in [
            ("core", "kiln-conformance", true),
            ("adapters/git", "kiln", false),
            ("adapters/git", "kiln-conformance", true),
            ("adapters/docker-http", "kiln-docker", false),
            ("bins/agent", "kiln-docker", false),
            ("tests/it", "kiln-docker", true),
        ] {
            assert!(!bad(path, need, dev), "{path} may depend on {need}");
        }
    }

    #[test]
    fn an_adapter_knows_one_vendor() {
        let two = member("x", "adapters/x", &[("git2", false), ("bollard", false)]);
        let tests = member("y", "adapters/y", &[("git2", false), ("bollard", true)]);
        assert_eq!(vendors(&[two]).len(), 1);
        assert!(vendors(&[tests]).is_empty());
    }
}
