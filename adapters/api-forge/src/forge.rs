//! What each forge sends, as what it means.
//!
//! Sources: the pages of GitHub on webhook events and payloads, of GitLab on webhook events, of
//! Gitea on webhooks. `tests/golden/hooks` has a payload of each kind.

use crate::{
    config::Trigger,
    hook::{Change, Heard},
    wire::{Commit, Merge, Pull, Push, Repository, TagOrPush},
};
use serde_json::{Result, from_slice};

/// GitHub lists no more commits of a push.
const GITHUB_COMMITS_MAX: usize = 2048;

pub(crate) fn github(event: &str, body: &[u8]) -> Result<Heard> {
    match event {
        "ping" => Ok(Heard::Ping),
        "push" => push(from_slice(body)?, GITHUB_COMMITS_MAX),
        "pull_request" => pull(from_slice(body)?, &["opened", "reopened", "synchronize"]),
        _ => other(body),
    }
}

pub(crate) fn gitea(event: &str, body: &[u8]) -> Result<Heard> {
    match event {
        "push" => push(from_slice(body)?, usize::MAX),
        "pull_request" | "pull_request_sync" => {
            pull(from_slice(body)?, &["opened", "reopened", "synchronized"])
        }
        _ => other(body),
    }
}

pub(crate) fn gitlab(event: &str, body: &[u8]) -> Result<Heard> {
    match event {
        "Push Hook" | "Tag Push Hook" => tag_or_push(from_slice(body)?),
        "Merge Request Hook" => merge(from_slice(body)?),
        _ => other(body),
    }
}

/// An event nobody builds on; that it is JSON is asked all the same.
fn other(body: &[u8]) -> Result<Heard> {
    from_slice::<serde::de::IgnoredAny>(body)?;
    Ok(Heard::Ignored("nothing is built on such an event"))
}

/// The branch or tag of a full name.
fn of_ref(full: &str) -> Option<(Trigger, String)> {
    let branch = full.strip_prefix("refs/heads/").map(|name| (Trigger::Push, name));
    let named = branch.or_else(|| full.strip_prefix("refs/tags/").map(|n| (Trigger::Tag, n)));
    named.map(|(trigger, name)| (trigger, name.to_owned()))
}

fn is_none(commit: &str) -> bool {
    commit.chars().all(|c| c == '0')
}

/// The paths of a push, if its commits are all there is to know.
fn paths(commits: &[Commit], all: bool) -> Option<Vec<String>> {
    let of = |c: &Commit| [c.added.clone(), c.modified.clone(), c.removed.clone()].concat();
    (all && !commits.is_empty()).then(|| commits.iter().flat_map(of).collect())
}

fn push(push: Push, commits_max: usize) -> Result<Heard> {
    let Some((trigger, name)) = of_ref(&push.reference) else {
        return Ok(Heard::Ignored("neither a branch nor a tag was pushed"));
    };
    if push.deleted || is_none(&push.after) {
        return Ok(Heard::Ignored("a branch or tag was deleted"));
    }
    // Of a tag with a message `after` is the tag, which is no commit.
    let commit = match (trigger, push.head_commit) {
        (Trigger::Tag, Some(head)) => head.id,
        _ => push.after,
    };
    // What a new or a rewritten branch differs in is not in its commits.
    let all = !push.forced && !is_none(&push.before) && push.commits.len() < commits_max;
    let paths = if trigger == Trigger::Push { paths(&push.commits, all) } else { None };
    let Repository { full_name, clone_url } = push.repository;
    Ok(change(trigger, full_name, clone_url, commit, name, paths))
}

fn change(
    trigger: Trigger,
    repo: String,
    clone_url: Option<String>,
    commit: String,
    name: String,
    paths: Option<Vec<String>>,
) -> Heard {
    let (number, from_fork) = (None, false);
    Heard::Change(Box::new(Change {
        trigger,
        repo,
        clone_url,
        commit,
        name,
        number,
        from_fork,
        paths,
    }))
}

fn pull(pull: Pull, actions: &[&str]) -> Result<Heard> {
    if !actions.contains(&pull.action.as_str()) {
        return Ok(Heard::Ignored("the commits of the pull request did not change"));
    }
    let (head, base) = (pull.pull_request.head, pull.pull_request.base);
    // A repository that is gone was another one.
    let from_fork = head.repo.is_none_or(|r| r.full_name != pull.repository.full_name);
    let Repository { full_name: repo, clone_url } = pull.repository;
    Ok(Heard::Change(Box::new(Change {
        trigger: Trigger::PullRequest,
        repo,
        clone_url,
        commit: head.sha,
        name: base.reference,
        number: Some(pull.number),
        from_fork,
        paths: None,
    })))
}

fn tag_or_push(push: TagOrPush) -> Result<Heard> {
    let Some((trigger, name)) = of_ref(&push.reference) else {
        return Ok(Heard::Ignored("neither a branch nor a tag was pushed"));
    };
    // Of a tag with a message `after` is the tag; what is deleted has nothing to check out.
    let Some(commit) = push.checkout_sha.filter(|_| !is_none(&push.after)) else {
        return Ok(Heard::Ignored("a branch or tag was deleted"));
    };
    let all = !is_none(&push.before) && push.total_commits_count == push.commits.len() as u64;
    let paths = if trigger == Trigger::Push { paths(&push.commits, all) } else { None };
    let (repo, url) = (push.project.path_with_namespace, push.project.git_http_url);
    Ok(change(trigger, repo, url, commit, name, paths))
}

fn merge(merge: Merge) -> Result<Heard> {
    let about = merge.object_attributes;
    let changed = match about.action.as_deref() {
        Some("open" | "reopen") => true,
        // Only new commits have an old revision; labels and words change too.
        Some("update") => about.oldrev.is_some(),
        _ => false,
    };
    if !changed {
        return Ok(Heard::Ignored("the commits of the merge request did not change"));
    }
    Ok(Heard::Change(Box::new(Change {
        trigger: Trigger::PullRequest,
        repo: merge.project.path_with_namespace,
        clone_url: merge.project.git_http_url,
        commit: about.last_commit.id,
        name: about.target_branch,
        number: Some(about.iid),
        from_fork: about.source_project_id != about.target_project_id,
        paths: None,
    })))
}
