//! Where a source comes from, told by its address.

use super::{Git, Settings};
use kiln::{Revision, SourceSpec};

/// Fills in what nobody said and the fetch before tells.
pub(super) fn complete(settings: &mut Settings, fetched: Option<(&SourceSpec, &Revision)>) {
    let known = fetched.map(|(source, revision)| origin(source, revision)).unwrap_or_default();
    let git = &mut settings.git;
    // What was said of a commit is of one source: nothing of another one is mixed in.
    if git.commit.is_none() {
        git.commit = known.commit;
        git.branch = git.branch.take().or(known.branch);
        git.tag = git.tag.take().or(known.tag);
    }
    if git.repository.is_none() {
        git.domain = git.domain.take().or(known.domain);
        git.owner = git.owner.take().or(known.owner);
        git.repository = known.repository;
    }
    let application = &mut settings.application;
    application.name = application.name.take().or_else(|| git.repository.clone());
    application.owner = application.owner.take().or_else(|| git.owner.clone());
}

fn origin(source: &SourceSpec, revision: &Revision) -> Git {
    let is_commit = revision.id.len() >= 40 && revision.id.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_commit {
        return Git::default();
    }
    let reference = revision.reference.as_deref().unwrap_or_default();
    let (domain, path) = address(&source.url).unwrap_or_default();
    let (owner, repository) = path.rsplit_once('/').unwrap_or(("", path));
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    Git {
        domain: some(domain),
        owner: some(owner),
        repository: some(repository),
        branch: reference.strip_prefix("refs/heads/").and_then(some),
        tag: reference.strip_prefix("refs/tags/").and_then(some),
        commit: some(&revision.id),
    }
}

/// The host and the path in the address of a repository.
fn address(url: &str) -> Option<(&str, &str)> {
    let (host, path) = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?,
        // As `git@host:owner/name`; a path has no colon before its first slash.
        None => url.split_once(':').filter(|(host, _)| !host.contains('/'))?,
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let path = path.trim_matches('/');
    Some((host, path.strip_suffix(".git").unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn shown(url: &str, id: &str, reference: Option<&str>) -> String {
        let revision = Revision { id: id.into(), reference: reference.map(str::to_owned) };
        let git = origin(&SourceSpec::new(url), &revision);
        let all = [git.domain, git.owner, git.repository, git.branch, git.tag];
        all.map(|part| part.unwrap_or("-".into())).join(" ")
    }

    #[test]
    fn an_address_tells_where_a_source_comes_from() {
        let rows = [
            ("https://github.com/kiln-ci/kiln.git", "github.com kiln-ci kiln main -"),
            ("https://bob@git.test:8443/a/b/c", "git.test a/b c main -"),
            ("ssh://git@host:22/a/b.git", "host a b main -"),
            ("git@host:a/b.git", "host a b main -"),
            ("file:///srv/git/a.git", "- - - main -"),
            ("/srv/git/a", "- - - main -"),
        ];
        for (url, expected) in rows {
            assert_eq!(shown(url, COMMIT, Some("refs/heads/main")), expected, "{url}");
        }
        assert_eq!(shown("git@h:a/b", COMMIT, Some("refs/tags/v1")), "h a b - v1");
        assert_eq!(shown("https://h/a/b.tar.gz", "sha256:00", None), "- - - - -");
    }

    #[test]
    fn what_was_said_is_not_mixed_with_what_was_fetched() {
        let revision = Revision { id: COMMIT.into(), reference: Some("refs/heads/main".into()) };
        let source = SourceSpec::new("https://github.com/o/r");
        let said = Git { commit: Some("abc".into()), ..Git::default() };
        let mut settings = Settings { git: said, ..Settings::default() };
        complete(&mut settings, Some((&source, &revision)));
        assert_eq!(settings.git.branch, None);
        assert_eq!(settings.git.repository.as_deref(), Some("r"));
        assert_eq!(settings.application.name.as_deref(), Some("r"));
        let mut settings = Settings::default();
        complete(&mut settings, Some((&source, &revision)));
        assert_eq!(settings.git.branch.as_deref(), Some("main"));
        assert_eq!(settings.git.commit.as_deref(), Some(COMMIT));
    }
}
