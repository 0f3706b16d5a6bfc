//! What the documents name exists: paths, crates, tasks.

use super::Finding;
use crate::error::{Context, Result};
use crate::help;
use crate::layout::{Layout, cargo_metadata};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MAP: &str = "ARCHITECTURE.md";

/// Checks the paths and crates in ARCHITECTURE.md and the tasks named in any document.
pub(super) fn check(layout: &Layout) -> Result<Vec<Finding>> {
    let metadata = cargo_metadata(&layout.root, &["--no-deps"])?;
    let crates = crates(&metadata);
    let mut findings = Vec::new();
    for (name, path) in documents(&layout.root)? {
        let text = fs::read_to_string(&path).context(format!("cannot read {name}"))?;
        for (at, line) in text.lines().enumerate() {
            let mut missing: Vec<String> = tasks(line)
                .filter(|task| !help::commands().any(|known| known == *task))
                .map(|task| format!("there is no `cargo xtask {task}`"))
                .collect();
            if name == MAP {
                missing.extend(missing_names(line, &layout.root, &crates));
            }
            let place = format!("{name}:{}", at + 1);
            findings.extend(missing.into_iter().map(|what| Finding::new(&place, what)));
        }
    }
    Ok(findings)
}

/// The documents at the root and in docs.
fn documents(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for dir in ["", "docs"] {
        let path = root.join(dir);
        if !path.exists() {
            continue;
        }
        for entry in fs::read_dir(&path).context(format!("cannot read {}", path.display()))? {
            let entry = entry.context(format!("cannot read {}", path.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                let name = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                found.push((name, entry.path()));
            }
        }
    }
    Ok(found)
}

/// Packages and their targets: what a text may call a crate.
fn crates(metadata: &Value) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let targets = packages.iter().flat_map(|p| p["targets"].as_array().into_iter().flatten());
    packages.iter().chain(targets).filter_map(|x| x["name"].as_str().map(str::to_owned)).collect()
}

/// Every word behind `cargo xtask`.
fn tasks(line: &str) -> impl Iterator<Item = &str> {
    line.split("cargo xtask ").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

fn missing_names(line: &str, root: &Path, crates: &BTreeSet<String>) -> Vec<String> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|name| {
            if is_path(name, root) && !root.join(name).exists() {
                return Some(format!("`{name}` does not exist"));
            }
            let is_crate = name.starts_with("kiln-") && name.chars().all(is_crate_char);
            (is_crate && !crates.contains(name)).then(|| format!("there is no crate `{name}`"))
        })
        .collect()
}

fn is_crate_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// Whether a text means a file here: it looks like a path and begins where the checkout has
/// something, or ends like a file of ours. `build/step/attempt` and `application/json` do not.
fn is_path(name: &str, root: &Path) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if name.is_empty() || name.starts_with('/') || !name.chars().all(plain) {
        return false;
    }
    let ours =
        [".rs", ".toml", ".md"].iter().any(|end| name.ends_with(end) && name.len() > end.len());
    match name.split_once('/') {
        Some(("target", _)) => false,
        Some((first, _)) => ours || root.join(first).is_dir(),
        None => [".toml", ".md"].iter().any(|end| name.ends_with(end) && name.len() > end.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_in_prose() {
        let line =
            "run `cargo xtask test`, or `cargo xtask services up`; `cargo xtask` alone fails";
        assert_eq!(tasks(line).collect::<Vec<_>>(), ["test", "services"]);
    }

    #[test]
    fn names_that_lead_nowhere_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let crates = BTreeSet::from(["kiln-docker".to_owned()]);
        let missing = |line| missing_names(line, root, &crates);
        assert!(missing("`src/main.rs` `src/` `Cargo.toml` `kiln-docker` core/none.rs").is_empty());
        assert!(
            missing("`application/json` `build/step` `target/x` `kiln build` `a::b`").is_empty()
        );
        assert_eq!(missing("`src/none.rs`").len(), 1);
        assert_eq!(missing("`src/none/`").len(), 1);
        assert_eq!(missing("`None.md` and `kiln-nothing`").len(), 2);
    }
}
