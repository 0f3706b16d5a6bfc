//! Licences, bans, doubles and sources of all crates in the graph, by the lists in deny.toml.
//!
//! `cargo deny` checks the same and more; this needs nothing but cargo.

use super::Finding;
use crate::error::{Context, Result};
use crate::layout::{Layout, cargo_tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const FILE: &str = "deny.toml";

/// Checks the graph of this platform.
pub(super) fn check(layout: &Layout) -> Result<Vec<Finding>> {
    let text = fs::read_to_string(layout.root.join(FILE)).context(format!("cannot read {FILE}"))?;
    // Not `cargo metadata`: its graph holds optional crates that nothing turns on.
    let tree = cargo_tree(layout, &["--workspace", "--format", "{p}\t{l}"])?;
    Ok(judge(&Lists::read(&text), &packages(&tree, &layout.root.to_string_lossy())))
}

#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    licence: String,
    /// Not from crates.io and not of this checkout.
    foreign: bool,
}

/// Lines of `name vVERSION (where from)<tab>licence`, with ` (*)` behind a repeated one.
fn packages(tree: &str, root: &str) -> Vec<Package> {
    let package = |line: &str| {
        let (package, licence) = line.split_once('\t')?;
        let mut words = package.splitn(3, ' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        // crates.io goes without saying.
        let from = words.next().unwrap_or_default();
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: licence.trim_end_matches("(*)").trim().to_owned(),
            foreign: !from.is_empty()
                && !from.starts_with("(proc-macro)")
                && !from.starts_with(&format!("({root}")),
        })
    };
    let mut packages: Vec<_> = tree.lines().filter_map(package).collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    packages.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
    packages
}

/// The lists of deny.toml that are checked here.
#[derive(Debug, Default)]
struct Lists {
    licences: Vec<String>,
    banned: Vec<String>,
    /// Doubles that are known, as `name@2` or `name`.
    skipped: Vec<String>,
}

impl Lists {
    fn read(text: &str) -> Self {
        Self {
            licences: array(text, "licenses", "allow"),
            banned: array(text, "bans", "deny"),
            skipped: array(text, "bans", "skip"),
        }
    }
}

/// The strings of an array, or the `crate` of each of its tables. It reads the plain TOML that
/// deny.toml is written in, not all of TOML.
fn array(text: &str, section: &str, key: &str) -> Vec<String> {
    let mut lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .skip_while(|line| *line != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !(line.starts_with('[') && line.ends_with(']')))
        .skip_while(|line| line.split('=').next().map(str::trim) != Some(key));
    let mut found = Vec::new();
    for line in &mut lines {
        let value = line.strip_prefix(key).unwrap_or(line);
        let tables = value.contains('{');
        for (at, piece) in value.split('"').enumerate() {
            let before = value.split('"').nth(at.wrapping_sub(1)).unwrap_or_default();
            let named = before.trim_end().ends_with("crate =");
            if at % 2 == 1 && (!tables || named) {
                found.push(piece.to_owned());
            }
        }
        if value.ends_with(']') {
            break;
        }
    }
    found
}

fn judge(lists: &Lists, packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let place = format!("{} {}", package.name, package.version);
        versions.entry(&package.name).or_default().insert(&package.version);
        if !licensed(&package.licence, &lists.licences) {
            let what = format!("licence `{}` is not on the list in {FILE}", package.licence);
            findings.push(Finding::new(&place, what));
        }
        if lists.banned.contains(&package.name) {
            findings
                .push(Finding::new(&place, format!("banned in {FILE}; `cargo tree -i` shows why")));
        }
        if package.foreign {
            findings.push(Finding::new(&place, "does not come from crates.io"));
        }
    }
    for (name, versions) in versions {
        // `name@2` stands for every 2.x, as in cargo deny.
        let known = |version: &str| {
            lists.skipped.iter().any(|skip| match skip.split_once('@') {
                Some((crate_name, v)) => {
                    crate_name == name && (version == v || version.starts_with(&format!("{v}.")))
                }
                None => skip == name,
            })
        };
        let unknown: Vec<_> = versions.iter().copied().filter(|version| !known(version)).collect();
        if versions.len() > 1 && unknown.len() > 1 {
            let what =
                format!("{} at once; unite them or add to skip in {FILE}", unknown.join(" and "));
            findings.push(Finding::new(name, what));
        }
    }
    findings
}

/// Whether an SPDX expression can be met with licences of the list.
fn licensed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_of(&tokens, &mut at, allowed);
    met && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = all_of(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(tokens, at, allowed);
    }
    met
}

fn all_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = term(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= term(tokens, at, allowed);
    }
    met
}

fn term(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let met = any_of(tokens, at, allowed);
        *at += 1;
        return met;
    }
    let mut name = (*token).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", tokens.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[licenses]
allow = ["MIT", "ISC"] # yes
[bans]
deny = [
    { crate = "ring", reason = "one TLS" },
]
skip = [{ crate = "syn@2", reason = "x" }]
"#;

    fn package(name: &str, version: &str, licence: &str) -> Package {
        let (name, version, licence) = (name.into(), version.into(), licence.into());
        Package { name, version, licence, foreign: false }
    }

    #[test]
    fn lists_are_read() {
        let lists = Lists::read(TEXT);
        assert_eq!(lists.licences, ["MIT", "ISC"]);
        assert_eq!(lists.banned, ["ring"]);
        assert_eq!(lists.skipped, ["syn@2"]);
    }

    #[test]
    fn the_tree_is_read() {
        let tree = "kiln v0.1.0 (/here/core)\tMIT\nsyn v2.0.1\tMIT OR X (*)\n\
            m v1.0.0 (proc-macro)\tMIT\nf v1.0.0 (https://x/f#1234)\tMIT\nsyn v2.0.1\tMIT OR X\n";
        let packages = packages(tree, "/here");
        let names: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.foreign)).collect();
        assert_eq!(names, [("f", true), ("kiln", false), ("m", false), ("syn", false)]);
        assert_eq!((&*packages[3].version, &*packages[3].licence), ("2.0.1", "MIT OR X"));
    }

    #[test]
    fn expressions_are_met_or_not() {
        let allowed: Vec<String> = ["MIT", "X WITH Y"].map(str::to_owned).into();
        for good in ["MIT", "GPL OR MIT", "GPL/MIT", "MIT AND (GPL OR MIT)", "X WITH Y OR GPL"] {
            assert!(licensed(good, &allowed), "{good}");
        }
        for bad in ["", "GPL", "MIT AND GPL", "X", "GPL OR (MIT AND GPL)", "MIT MIT"] {
            assert!(!licensed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        let lists = Lists::read(TEXT);
        let count = |packages: &[Package]| judge(&lists, packages).len();
        assert_eq!(count(&[package("a", "1.0.0", "MIT")]), 0);
        assert_eq!(count(&[package("a", "1.0.0", "GPL-3.0")]), 1);
        assert_eq!(count(&[package("ring", "1.0.0", "ISC")]), 1);
        assert_eq!(count(&[package("a", "1.0.0", "MIT"), package("a", "2.0.0", "MIT")]), 1);
        assert_eq!(count(&[package("syn", "2.0.1", "MIT"), package("syn", "3.0.0", "MIT")]), 0);
        let fork = Package { foreign: true, ..package("a", "1.0.0", "MIT") };
        assert_eq!(count(&[fork]), 1);
    }
}
