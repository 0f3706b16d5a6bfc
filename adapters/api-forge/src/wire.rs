//! The parts of the payloads that are read. A forge adds fields when it likes.

use serde::{Deserialize, Deserializer};

/// What Go wrote as `null`, for a list that has nothing in it.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A `push` of GitHub and Gitea.
#[derive(Debug, Deserialize)]
pub(crate) struct Push {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) before: String,
    pub(crate) after: String,
    #[serde(default)]
    pub(crate) deleted: bool,
    #[serde(default)]
    pub(crate) forced: bool,
    #[serde(default)]
    pub(crate) head_commit: Option<Head>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) commits: Vec<Commit>,
    pub(crate) repository: Repository,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Commit {
    #[serde(default, deserialize_with = "list")]
    pub(crate) added: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) modified: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) removed: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Repository {
    pub(crate) full_name: String,
    #[serde(default)]
    pub(crate) clone_url: Option<String>,
}

/// A `pull_request` of GitHub and Gitea.
#[derive(Debug, Deserialize)]
pub(crate) struct Pull {
    pub(crate) action: String,
    pub(crate) number: u64,
    pub(crate) pull_request: Ends,
    pub(crate) repository: Repository,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ends {
    pub(crate) head: End,
    pub(crate) base: End,
}

#[derive(Debug, Deserialize)]
pub(crate) struct End {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) sha: String,
    #[serde(default)]
    pub(crate) repo: Option<Repository>,
}

/// A `push` and a `tag_push` of GitLab.
#[derive(Debug, Deserialize)]
pub(crate) struct TagOrPush {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) before: String,
    pub(crate) after: String,
    #[serde(default)]
    pub(crate) checkout_sha: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) commits: Vec<Commit>,
    #[serde(default)]
    pub(crate) total_commits_count: u64,
    pub(crate) project: Project,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Project {
    pub(crate) path_with_namespace: String,
    #[serde(default)]
    pub(crate) git_http_url: Option<String>,
}

/// A `merge_request` of GitLab.
#[derive(Debug, Deserialize)]
pub(crate) struct Merge {
    pub(crate) project: Project,
    pub(crate) object_attributes: About,
}

#[derive(Debug, Deserialize)]
pub(crate) struct About {
    pub(crate) iid: u64,
    #[serde(default)]
    pub(crate) action: Option<String>,
    #[serde(default)]
    pub(crate) oldrev: Option<String>,
    pub(crate) source_project_id: u64,
    pub(crate) target_project_id: u64,
    pub(crate) target_branch: String,
    pub(crate) last_commit: Head,
}
