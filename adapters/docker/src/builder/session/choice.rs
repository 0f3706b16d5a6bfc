//! Which files of a directory the engine asks for.
//!
//! It names what a recipe uses, and a link among that stands for what it leads to as well. The rules
//! are those of `FollowLinks` and the walker in `github.com/tonistiigi/fsutil`.

use crate::{
    context::{Entry, Kind},
    ignore::{IgnoreError, Matcher},
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Component, Path, PathBuf},
};

/// What the engine asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Patterns of what it wants; all if there are none here and no paths.
    pub(super) include: Vec<String>,
    /// Patterns of what it does not want, as in a `.dockerignore`.
    pub(super) exclude: Vec<String>,
    /// Paths, with wildcards, that it wants with what their links lead to.
    pub(super) follow: Vec<String>,
}

impl Wanted {
    /// The places in the list of those entries that are wanted, and of the directories they are in.
    pub(super) fn of(&self, entries: &[Entry]) -> Result<Vec<usize>, IgnoreError> {
        let mut exclude = Matcher::default();
        self.exclude.iter().try_for_each(|pattern| exclude.add(pattern))?;
        let include = self.included(entries)?;
        let mut parents = HashSet::new();
        let mut chosen = Vec::new();
        // Backwards, a directory comes after what is in it.
        for (i, entry) in entries.iter().enumerate().rev() {
            let text = entry.path.to_string_lossy();
            let wanted = || include.as_ref().is_none_or(|m| m.excludes(&text));
            let refused = || !self.exclude.is_empty() && exclude.excludes(&text);
            let kept = wanted() && !refused();
            if kept || parents.contains(entry.path.as_path()) {
                parents.extend(entry.path.parent());
                chosen.push(i);
            }
        }
        chosen.reverse();
        Ok(chosen)
    }

    /// What is wanted, as something that matches it; none if everything is.
    fn included(&self, entries: &[Entry]) -> Result<Option<Matcher>, IgnoreError> {
        let mut names: BTreeSet<String> = self.include.iter().cloned().collect();
        names.extend(follow(entries, &self.follow));
        if names.is_empty() || names.iter().any(|n| matches!(n.as_str(), "" | "." | "/")) {
            return Ok(None);
        }
        let mut matcher = Matcher::default();
        for name in &names {
            // What a link leads to is a name and no pattern, and may look like a broken one.
            matcher.add_name(name).or_else(|_| matcher.add_name(&literal(name)))?;
        }
        Ok(Some(matcher))
    }
}

fn literal(name: &str) -> String {
    let escaped = |c| matches!(c, '*' | '?' | '[' | '\\').then_some('\\');
    name.chars().flat_map(|c| escaped(c).into_iter().chain([c])).collect()
}

/// The paths, and what the links on their way lead to. Nothing leads out of the directory.
fn follow(entries: &[Entry], paths: &[String]) -> BTreeSet<String> {
    let links: HashMap<&Path, &Path> = entries
        .iter()
        .filter_map(|e| match &e.kind {
            Kind::Link(target) => Some((e.path.as_path(), target.as_path())),
            _ => None,
        })
        .collect();
    let mut seen = BTreeSet::new();
    let mut ahead: Vec<PathBuf> = paths.iter().map(|p| inside(Path::new(p))).collect();
    while let Some(path) = ahead.pop() {
        let mut current = PathBuf::new();
        let mut rest = path.components();
        loop {
            current.extend(rest.next());
            let targets = targets(&links, &current);
            let name = current.to_string_lossy().into_owned();
            if targets.is_empty() && rest.as_path() != Path::new("") {
                continue;
            }
            if seen.insert(name) {
                ahead.extend(targets.iter().map(|t| inside(&t.join(rest.as_path()))));
            }
            break;
        }
    }
    seen
}

/// Where a path leads if it is a link, or all links if its last part is a pattern that matches them.
fn targets(links: &HashMap<&Path, &Path>, path: &Path) -> Vec<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new(""));
    if let Some(target) = links.get(path) {
        return vec![directory.join(target)];
    }
    if !path.file_name().is_some_and(|n| n.to_string_lossy().contains(['*', '?', '[', '\\'])) {
        return Vec::new();
    }
    let mut matcher = Matcher::default();
    if matcher.add_name(&path.to_string_lossy()).is_err() {
        return Vec::new();
    }
    let here = links.iter().filter(|(link, _)| {
        link.parent() == Some(directory) && matcher.excludes(&link.to_string_lossy())
    });
    here.map(|(_, target)| directory.join(target)).collect()
}

/// A path without `.` and `..`, and never above the root of the directory.
fn inside(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => clean.clear(),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a/` is a directory, `a -> b` a link, anything else a file.
    fn entries(names: &[&str]) -> Vec<Entry> {
        let entry = |name: &&str| {
            let (path, kind) = match (name.strip_suffix('/'), name.split_once(" -> ")) {
                (Some(path), _) => (path, Kind::Directory),
                (_, Some((path, target))) => (path, Kind::Link(target.into())),
                _ => (*name, Kind::File(1)),
            };
            Entry { path: path.into(), kind, mode: 0o644, modified: 0 }
        };
        names.iter().map(entry).collect()
    }

    #[track_caller]
    fn check(names: &[&str], wanted: &Wanted, expected: &[&str]) {
        let all = entries(names);
        let chosen = wanted.of(&all).unwrap();
        let chosen: Vec<_> = chosen.into_iter().map(|i| all[i].path.to_str().unwrap()).collect();
        assert_eq!(chosen, expected, "{wanted:?}");
    }

    fn paths(follow: &[&str]) -> Wanted {
        Wanted { follow: follow.iter().map(|p| (*p).to_owned()).collect(), ..Wanted::default() }
    }

    const TREE: [&str; 7] = ["a/", "a/b/", "a/b/x", "a/y", "c", "d/", "d/x"];

    #[test]
    fn all_is_wanted_unless_said_otherwise() {
        let all = ["a", "a/b", "a/b/x", "a/y", "c", "d", "d/x"];
        for every in [&[][..], &["."], &["/"], &["c", "a/.."]] {
            check(&TREE, &paths(every), &all);
        }
        let exclude = vec!["a".to_owned(), "!a/y".to_owned()];
        let some = Wanted { exclude, ..Wanted::default() };
        check(&TREE, &some, &["a", "a/y", "c", "d", "d/x"]);
    }

    #[test]
    fn a_path_comes_with_what_is_in_it_and_what_it_is_in() {
        check(&TREE, &paths(&["a/b"]), &["a", "a/b", "a/b/x"]);
        check(&TREE, &paths(&["/d/../c", "nothing"]), &["c"]);
        check(&TREE, &paths(&["*/x"]), &["d", "d/x"]);
        check(&["!a", "#b", " c"], &paths(&["!a", "#b", " c"]), &["!a", "#b", " c"]);
    }

    #[test]
    fn links_are_followed_but_never_out() {
        let tree = ["in -> a/b", "loop -> loop", "out -> ../../etc/passwd", "etc/", "etc/passwd"];
        let tree = [&tree[..], &TREE[..]].concat();
        check(&tree, &paths(&["in/x"]), &["in", "a", "a/b", "a/b/x"]);
        check(&tree, &paths(&["loop/x"]), &["loop"]);
        check(&tree, &paths(&["out"]), &["out", "etc", "etc/passwd"]);
        let tree = ["l1 -> l2", "l2 -> /d", "d/", "d/x", "e"];
        check(&tree, &paths(&["l1"]), &["l1", "l2", "d", "d/x"]);
        check(&tree, &paths(&["l?"]), &["l1", "l2", "d", "d/x"]);
        check(&["a -> a/b", "c"], &paths(&["a"]), &["a"]);
        check(&["a -> b[", "b[", "c"], &paths(&["a"]), &["a", "b["]);
    }
}
