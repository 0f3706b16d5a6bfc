//! Which changes count, and names that cannot be what they say.

use crate::{
    config::{HookConfig, Trigger},
    glob::Globs,
    hook::Change,
};

#[derive(Clone, Debug)]
pub(crate) struct Filter {
    on: Vec<Trigger>,
    forks: bool,
    repos: Globs,
    branches: Globs,
    tags: Globs,
    paths: Globs,
}

impl Filter {
    pub(crate) fn new(config: &HookConfig) -> Self {
        Self {
            on: config.on.clone(),
            forks: config.forks,
            repos: Globs::new(&config.repos),
            branches: Globs::new(&config.branches),
            tags: Globs::new(&config.tags),
            paths: Globs::new(&config.paths),
        }
    }

    /// Why a change does not count; none if it does.
    pub(crate) fn refuses(&self, change: &Change) -> Option<&'static str> {
        let name = &change.name;
        let named = match change.trigger {
            Trigger::Tag => self.tags.fit(name),
            Trigger::Push | Trigger::PullRequest => self.branches.fit(name),
        };
        let touched = match &change.paths {
            Some(paths) if !self.paths.is_empty() => paths.iter().any(|p| self.paths.fit(p)),
            _ => true,
        };
        let repo = change.repo.as_str();
        [
            (is_repo(repo), "the repository has no legal name"),
            (is_ref(name), "the branch or tag has no legal name"),
            (is_commit(&change.commit), "there is no commit"),
            (self.repos.fit(repo), "the repository is none of those that count"),
            (self.on.contains(&change.trigger), "the hook does not build on that"),
            (named, "the branch or tag is none of those that count"),
            (!change.from_fork || self.forks, "it comes from a fork"),
            (touched, "none of the paths that count changed"),
        ]
        .into_iter()
        .find(|(fine, _)| !fine)
        .map(|(_, why)| why)
    }
}

/// The id of a commit that is there: 40 or 64 hexadecimal digits, not all of them 0.
fn is_commit(id: &str) -> bool {
    let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    matches!(id.len(), 40 | 64) && id.chars().all(digits) && id.chars().any(|c| c != '0')
}

/// `owner/name`, and more parts where groups have groups.
fn is_repo(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let part = |p: &str| !p.is_empty() && p.chars().all(legal) && p != "." && p != "..";
    name.len() <= 255 && name.contains('/') && name.split('/').all(part)
}

/// What git takes as the name of a branch or tag, as `git help check-ref-format` tells it.
fn is_ref(name: &str) -> bool {
    let illegal = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let part = |p: &str| !p.is_empty() && !p.starts_with('.') && !p.ends_with(".lock");
    name.len() <= 255
        && !name.contains(illegal)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name != "@"
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_git_and_forges_take() {
        for good in ["main", "a/b", "größe", "--upload-pack=x", "$(id)", "a@b", "v1.2"] {
            assert!(is_ref(good), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a..b",
            "a/",
            "/a",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.",
            "@",
            "a@{b",
            "a\nb",
            "a\u{7f}",
            "a:b",
            "a\\b",
            "a*",
            "$(rm -rf /)",
        ] {
            assert!(!is_ref(bad), "{bad}");
        }
        assert!(is_repo("acme/app") && is_repo("a/b/c") && is_repo("a/.github"));
        for bad in ["", "app", "a/../b", "a/b c", "a/", "a/b?x", "a/b#x", "a@b/c", "a/ü", "a\\b/c"]
        {
            assert!(!is_repo(bad), "{bad}");
        }
        assert!(is_commit(&"a1".repeat(20)) && is_commit(&"0a".repeat(32)));
        for bad in ["", "main", &"0".repeat(40), &"A1".repeat(20), &"a".repeat(39)] {
            assert!(!is_commit(bad), "{bad}");
        }
    }
}
