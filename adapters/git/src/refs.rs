//! Which of a repository's references a name means.

use crate::{error::RESOLVE, url::check_reference};
use git2::Oid;
use kiln::{Error, ErrorKind, Result, Revision};

/// How short an abbreviated commit id may be.
const ABBREVIATION_MIN: usize = 4;
/// How many names are offered in place of one that does not exist.
const SUGGESTIONS: usize = 3;

/// What a repository says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// `HEAD`, `refs/heads/main`, or `refs/tags/v1^{}` for what an annotated tag points to.
    pub(crate) name: String,
    pub(crate) id: Oid,
    /// The reference that this one stands for.
    pub(crate) target: Option<String>,
}

/// A full commit id, in lower case.
pub(crate) fn full_id(text: &str) -> Option<String> {
    let hex = text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| text.to_ascii_lowercase())
}

/// Finds what a name means: as git does, a full name first, then a tag, then a branch; at last the
/// beginning of a commit id. Without a name, the default branch.
pub(crate) fn select(heads: &[Head], wanted: Option<&str>) -> Result<Revision> {
    if heads.is_empty() {
        return Err(not_found("the repository is empty").hint("Push a commit to it first."));
    }
    let wanted = wanted.unwrap_or("HEAD");
    check_reference(wanted).map_err(|e| crate::error::url(RESOLVE, &e))?;
    if wanted == "HEAD" {
        return default(heads);
    }
    let forms = [
        wanted.to_owned(),
        format!("refs/{wanted}"),
        format!("refs/tags/{wanted}"),
        format!("refs/heads/{wanted}"),
    ];
    let full = |name: &&String| name.starts_with("refs/");
    if let Some(found) = forms.iter().filter(full).find_map(|name| find(heads, name)) {
        return Ok(found);
    }
    if let Some(found) = abbreviated(heads, wanted)? {
        return Ok(found);
    }
    Err(unknown(heads, wanted))
}

fn default(heads: &[Head]) -> Result<Revision> {
    let Some(head) = heads.iter().find(|h| h.name == "HEAD") else {
        return Err(not_found("the repository has no default branch")
            .hint(format!("Name a branch: {}.", near(heads, "main").join(", "))));
    };
    let same = |h: &&Head| h.id == head.id && h.name.starts_with("refs/heads/");
    let reference = head.target.clone().or_else(|| heads.iter().find(same).map(|h| h.name.clone()));
    Ok(Revision { id: head.id.to_string(), reference: Some(reference.unwrap_or("HEAD".into())) })
}

fn find(heads: &[Head], name: &str) -> Option<Revision> {
    let by_name = |name: &str| heads.iter().find(|h| h.name == name);
    let head = by_name(&format!("{name}^{{}}")).or_else(|| by_name(name))?;
    Some(Revision { id: head.id.to_string(), reference: Some(name.to_owned()) })
}

/// A commit whose id begins so, among those that references point to.
fn abbreviated(heads: &[Head], wanted: &str) -> Result<Option<Revision>> {
    let hex = (ABBREVIATION_MIN..40).contains(&wanted.len())
        && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex {
        return Ok(None);
    }
    let prefix = wanted.to_ascii_lowercase();
    let mut ids: Vec<String> = heads.iter().map(|h| h.id.to_string()).collect();
    ids.retain(|id| id.starts_with(&prefix));
    ids.sort();
    ids.dedup();
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(Revision { id: id.clone(), reference: None })),
        _ => Err(Error::new(ErrorKind::Invalid, RESOLVE, "more than one commit id begins so")
            .with("reference", wanted)
            .hint(format!("Write more of it: {}.", ids[..ids.len().min(3)].join(", ")))),
    }
}

/// The same among all commits of a repository of this host.
pub(crate) fn abbreviated_in(path: &std::path::Path, wanted: &str) -> Option<Revision> {
    let hex = wanted.len() >= ABBREVIATION_MIN && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    let repository = hex.then(|| crate::fetch::open(RESOLVE, path).ok()).flatten()?;
    let commit = repository.find_commit_by_prefix(wanted).ok()?;
    Some(Revision { id: commit.id().to_string(), reference: None })
}

fn unknown(heads: &[Head], wanted: &str) -> Error {
    let error = not_found("there is no such branch, tag or commit").with("reference", wanted);
    let near = near(heads, wanted);
    if wanted.len() == 64 && wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return crate::error::sha256(RESOLVE).with("reference", wanted);
    }
    if wanted.len() >= 7 && wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return error.hint("An abbreviated commit id is found only where a branch or a tag points to it; write all 40 digits.");
    }
    match near.as_slice() {
        [] => error,
        near => error.hint(format!("Near to it are: {}.", near.join(", "))),
    }
}

fn not_found(message: &str) -> Error {
    Error::new(ErrorKind::NotFound, RESOLVE, message)
}

/// The branches and tags whose names are most like a name.
fn near(heads: &[Head], wanted: &str) -> Vec<String> {
    let short = |name: &str| {
        let name = name.strip_suffix("^{}").unwrap_or(name);
        let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
        short.filter(|s| check_reference(s).is_ok()).map(ToOwned::to_owned)
    };
    let mut names: Vec<_> = heads.iter().take(5000).filter_map(|h| short(&h.name)).collect();
    names.sort();
    names.dedup();
    names.sort_by_cached_key(|name| distance(name, wanted));
    names.truncate(SUGGESTIONS);
    names
}

/// How many letters to add, remove or change to get from one name to another.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let change = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, digit: char) -> Head {
        let id = Oid::from_str(&digit.to_string().repeat(40)).unwrap();
        Head { name: name.into(), id, target: None }
    }

    fn check(wanted: Option<&str>, digit: char, reference: Option<&str>) {
        let mut heads = vec![
            head("HEAD", 'a'),
            head("refs/heads/main", 'a'),
            head("refs/heads/both", 'b'),
            head("refs/pull/1/head", 'c'),
            head("refs/tags/both", 'd'),
            head("refs/tags/v1", 'e'),
            head("refs/tags/v1^{}", 'f'),
        ];
        heads[0].target = Some("refs/heads/main".into());
        let found = select(&heads, wanted).unwrap();
        assert_eq!(found.id, digit.to_string().repeat(40), "{wanted:?}");
        assert_eq!(found.reference.as_deref(), reference, "{wanted:?}");
    }

    #[test]
    fn a_name_means_what_it_means_to_git() {
        check(None, 'a', Some("refs/heads/main"));
        check(Some("HEAD"), 'a', Some("refs/heads/main"));
        check(Some("main"), 'a', Some("refs/heads/main"));
        check(Some("both"), 'd', Some("refs/tags/both"));
        check(Some("heads/both"), 'b', Some("refs/heads/both"));
        check(Some("refs/heads/both"), 'b', Some("refs/heads/both"));
        check(Some("pull/1/head"), 'c', Some("refs/pull/1/head"));
        check(Some("v1"), 'f', Some("refs/tags/v1"));
        check(Some("CCCC"), 'c', None);
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is_near() {
        let heads = [head("HEAD", '1'), head("refs/heads/main", '1'), head("refs/tags/v1.0", '2')];
        let e = select(&heads, Some("mian")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound);
        assert_eq!(e.hint_text(), Some("Near to it are: main, v1.0."));
        assert_eq!(select(&[], None).unwrap_err().message(), "the repository is empty");
        assert_eq!(select(&heads, Some("--upload-pack=x")).unwrap_err().kind(), ErrorKind::Invalid);
        let twice = [head("refs/heads/a", '1'), head("refs/heads/b", '1')];
        assert!(select(&twice, Some("1111")).is_ok());
        assert_eq!(select(&twice, None).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, d) in [("", "abc", 3), ("kitten", "sitting", 3), ("a", "a", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
