//! The state of a commit on a forge.
//!
//! Sources: *Create a commit status* of GitHub's REST API, *Set commit pipeline status* of
//! GitLab's, `POST /repos/{owner}/{repo}/statuses/{sha}` of Gitea's.

use crate::{
    client::{Outward, receiver, reveal},
    config::{Forge, On, StatusConfig},
    error::{OP, answered, invalid, is_repeated_state},
};
use async_trait::async_trait;
use kiln::{
    Error, ErrorKind, Event, Outcome, Result,
    port::{Notice, Notifier, Secrets},
};
use reqwest::{
    StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::json;
use std::{fmt, sync::Arc};

/// Answers that say that this very commit will never get a state.
const GONE: [StatusCode; 4] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::GONE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// Sets the state of the commit that a build is of, as its labels `kiln.repo` and `kiln.commit`
/// say. A build without them is of no commit, and nobody is told.
#[derive(Clone)]
pub struct Statuses {
    config: StatusConfig,
    api: Url,
    outward: Outward,
    secrets: Arc<dyn Secrets>,
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, api, .. } = self;
        let mut shown = f.debug_struct("Statuses");
        shown.field("forge", &config.forge).field("host", &api.host_str()).finish_non_exhaustive()
    }
}

/// Where a build stands, as all forges can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Pending,
    Running,
    Success,
    Failure,
    Error,
    Cancelled,
}

impl Standing {
    fn of(notice: &Notice) -> Self {
        match &notice.event {
            Event::Accepted { .. } => Self::Pending,
            Event::Finished { outcome } => match outcome {
                Outcome::Succeeded => Self::Success,
                Outcome::Failed { .. } | Outcome::TimedOut => Self::Failure,
                Outcome::Errored { .. } => Self::Error,
                Outcome::Cancelled => Self::Cancelled,
            },
            _ => Self::Running,
        }
    }

    fn word(self, forge: Forge) -> &'static str {
        match (forge, self) {
            (_, Self::Pending) => "pending",
            (_, Self::Success) => "success",
            (Forge::GitLab, Self::Running) => "running",
            (Forge::GitLab, Self::Failure | Self::Error) => "failed",
            (Forge::GitLab, Self::Cancelled) => "canceled",
            (_, Self::Running) => "pending",
            (_, Self::Failure) => "failure",
            (_, Self::Error | Self::Cancelled) => "error",
        }
    }
}

/// What people read beside the state; no forge takes more than 140 characters.
fn description(notice: &Notice) -> String {
    let build = &notice.build;
    match &notice.event {
        Event::Accepted { .. } => "The build waits for its turn".into(),
        Event::Finished { outcome: Outcome::Succeeded } => "The build succeeded".into(),
        Event::Finished { outcome: Outcome::Failed { .. } } => "The build failed".into(),
        Event::Finished { outcome: Outcome::Errored { .. } } => "The build could not be run".into(),
        Event::Finished { outcome: Outcome::TimedOut } => "The build took too long".into(),
        Event::Finished { outcome: Outcome::Cancelled } => "The build was cancelled".into(),
        Event::CancelRequested { .. } => "The build is to stop".into(),
        _ => format!("The build runs: {} of {} steps are over", build.steps_over, build.steps),
    }
}

impl Statuses {
    /// Checks the settings; `Invalid` says what is wrong. The token is asked for each time.
    pub fn new(config: StatusConfig, secrets: Arc<dyn Secrets>) -> Result<Self> {
        let api = receiver(&config.api, config.allow_http)?;
        if config.repos.is_empty() {
            return Err(invalid("`repos` is empty: no commit would ever get a state"));
        }
        if config.events.is_empty() {
            return Err(invalid("`events` is empty: no commit would ever get a state"));
        }
        if config.context.is_empty() || config.context.len() > 255 {
            return Err(invalid("`context` has 1 to 255 characters"));
        }
        if let Some(target) = &config.target {
            // Anything else would be a link that runs something in a browser.
            receiver(&target.replace("{build}", "b").replace("{seq}", "1"), true)?;
        }
        let outward = Outward::new(config.allow_private_network)?;
        Ok(Self { config, api, outward, secrets })
    }

    /// The repository and the commit that a build is of, if this is to tell of it.
    fn commit<'n>(&self, notice: &'n Notice) -> Option<(&'n str, &'n str)> {
        let label = |key: &str| notice.build.labels.get(key).map(String::as_str);
        let (repo, commit) = (label("kiln.repo")?, label("kiln.commit")?);
        let theirs = notice.build.owner == self.config.owner;
        let of_hook = self.config.hook.as_deref().is_none_or(|h| label("kiln.hook") == Some(h));
        let wanted = self.config.repos.iter().any(|pattern| fits(pattern, repo));
        let legal = is_repo(repo) && is_commit(commit);
        (theirs && of_hook && wanted && legal).then_some((repo, commit))
    }

    fn url(&self, repo: &str, commit: &str) -> Result<Url> {
        let api = self.api.as_str().trim_end_matches('/');
        let url = match self.config.forge {
            Forge::GitHub | Forge::Gitea => format!("{api}/repos/{repo}/statuses/{commit}"),
            Forge::GitLab => {
                format!("{api}/projects/{}/statuses/{commit}", repo.replace('/', "%2F"))
            }
        };
        Url::parse(&url).map_err(|_| invalid("the address of a commit cannot be made"))
    }

    async fn headers(&self) -> Result<HeaderMap> {
        let token = reveal(&*self.secrets, &self.config.owner, &self.config.token).await?;
        let (name, scheme) = match self.config.forge {
            Forge::GitHub => (AUTHORIZATION, "Bearer "),
            Forge::Gitea => (AUTHORIZATION, "token "),
            Forge::GitLab => (HeaderName::from_static("private-token"), ""),
        };
        let mut value = HeaderValue::from_bytes(&[scheme.as_bytes(), token.expose()].concat())
            .map_err(|_| crate::error::mendable(ErrorKind::Invalid, "the token is no token"))?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::from_iter([(name, value)]);
        if self.config.forge == Forge::GitHub {
            headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
            headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        }
        Ok(headers)
    }

    fn body(&self, notice: &Notice) -> Result<Vec<u8>> {
        let (build, seq) = (notice.build.build.as_str(), notice.seq.to_string());
        let target = self.config.target.as_deref();
        let mut body = json!({
            "state": Standing::of(notice).word(self.config.forge),
            "description": description(notice),
            "context": self.config.context,
        });
        if let Some(target) = target {
            body["target_url"] = json!(target.replace("{build}", build).replace("{seq}", &seq));
        }
        serde_json::to_vec(&body).map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))
    }
}

/// Whether a repository is one of a pattern.
fn fits(pattern: &str, repo: &str) -> bool {
    let below = |group: &str| repo.strip_prefix(group).and_then(|rest| rest.strip_prefix('/'));
    if let Some(group) = pattern.strip_suffix("/**") {
        return below(group).is_some();
    }
    match pattern.strip_suffix("/*") {
        Some(group) => below(group).is_some_and(|name| !name.contains('/')),
        None => pattern == repo,
    }
}

/// Nothing that would lead elsewhere in the path of a URL.
fn is_repo(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let part = |p: &str| !p.is_empty() && p != "." && p != ".." && p.chars().all(legal);
    name.contains('/') && name.split('/').all(part)
}

fn is_commit(id: &str) -> bool {
    matches!(id.len(), 40 | 64) && id.chars().all(|c| c.is_ascii_hexdigit())
}

#[async_trait]
impl Notifier for Statuses {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        if !self.wants(&notice.event) {
            return Ok(());
        }
        let Some((repo, commit)) = self.commit(notice) else { return Ok(()) };
        let url = self.url(repo, commit)?;
        let (status, text) =
            self.outward.post(&url, self.headers().await?, self.body(notice)?).await?;
        let repeated = self.config.forge == Forge::GitLab && is_repeated_state(status, &text);
        if status.is_success() || repeated {
            return Ok(());
        }
        Err(answered(&url, status, &GONE).with("repo", repo).with("commit", commit))
    }

    fn wants(&self, event: &Event) -> bool {
        On::of(event).is_some_and(|on| self.config.events.contains(&on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_the_ends_of_groups() {
        assert!(fits("a/b", "a/b") && !fits("a/b", "a/bc") && !fits("a/b", "x/a/b"));
        assert!(fits("a/*", "a/b") && !fits("a/*", "ab/c") && !fits("a/*", "a/b/c"));
        assert!(fits("a/**", "a/b/c") && !fits("a/**", "a"));
    }
}
