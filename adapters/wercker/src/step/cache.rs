//! Steps that were fetched before: kept by exact version, with what the registry last said.

use super::{Found, StepRegistry, is_exact_version, local};
use kiln::{Error, ErrorKind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long what the registry said of `*` holds, unless a cache is told otherwise.
pub const REFRESH_AFTER: Duration = Duration::from_secs(3600);
/// How long the file is in which an answer is kept, at most.
const ANSWER_MAX: u64 = 16 * 1024;

/// A directory of steps, `<owner>-<name>@<exact version>/` each, and of the registry's answers.
///
/// Several processes may use one: what is put there appears at once and whole. Each registry needs
/// a cache of its own, since another one may call other code the same.
#[derive(Clone, Debug)]
pub struct StepCache {
    root: PathBuf,
    refresh_after: Duration,
}

/// How much of the registry a resolution may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Asked where the last answer is too old.
    #[default]
    WhenOld,
    /// Asked in any case.
    Always,
}

/// A step that was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What the registry says of it, or last said.
    pub found: Found,
    /// Its files, if they are kept here; else they are to be fetched and [put](StepCache::put).
    pub kept: Option<PathBuf>,
    /// What the user should know: for example that the registry did not answer.
    pub warning: Option<String>,
}

/// What is kept of an answer. The file's form is nobody else's business: one that cannot be read
/// is none.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    version: String,
    tarball_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<kiln::Digest>,
    asked_at: Timestamp,
}

impl StepCache {
    /// A cache in a directory, which is made when it is first needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), refresh_after: REFRESH_AFTER }
    }

    /// Says how long what the registry said of anything but an exact version holds.
    #[must_use]
    pub fn refresh_after(self, refresh_after: Duration) -> Self {
        Self { refresh_after, ..self }
    }

    /// Finds a step: by the registry's last answer where the files it is about are here and it is
    /// fresh, or else by asking.
    ///
    /// The answer for an exact version whose files are here never gets old. Where the registry
    /// does not answer, an old answer is used if the files it is about are here, with a warning;
    /// that a step does not exist is an answer. `now` is told by the caller's clock.
    pub async fn resolve(
        &self,
        registry: &dyn StepRegistry,
        (owner, name, version): (&str, &str, &str),
        refresh: Refresh,
        now: Timestamp,
    ) -> Result<Resolved> {
        let last = self.last_answer(owner, name, version);
        if let Some(last) = &last
            && refresh == Refresh::WhenOld
        {
            let kept = self.kept(owner, name, &last.version);
            // A clock that was set back makes an answer no fresher.
            let young = last.asked_at <= now && now.since(last.asked_at) < self.refresh_after;
            if kept.is_some() && (version == last.version || young) {
                return Ok(Resolved { found: last.found(), kept, warning: None });
            }
        }
        let error = match registry.find(owner, name, version).await {
            Ok(found) => return self.answered((owner, name, version), found, now),
            Err(error) => error,
        };
        let passing = matches!(
            error.kind(),
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited
        );
        let kept = last.and_then(|l| Some((self.kept(owner, name, &l.version)?, l)));
        match kept.filter(|_| passing) {
            Some((kept, last)) => {
                let warning = format!(
                    "{error}; step {owner}/{name} is used as version {}, which is here from before",
                    last.version
                );
                Ok(Resolved { found: last.found(), kept: Some(kept), warning: Some(warning) })
            }
            None => Err(error),
        }
    }

    fn answered(
        &self,
        (owner, name, version): (&str, &str, &str),
        found: Found,
        now: Timestamp,
    ) -> Result<Resolved> {
        if !is_exact_version(&found.version) {
            let message = "the registry of steps answered with a version that is none";
            return Err(Error::new(ErrorKind::Corrupt, "StepCache::resolve", message)
                .with("step", format!("{owner}/{name}@{version}")));
        }
        let answer = Answer {
            version: found.version.clone(),
            tarball_url: found.tarball_url.clone(),
            sha256: found.sha256.clone(),
            asked_at: now,
        };
        // What cannot be kept is asked for again.
        let kept = self.kept(owner, name, &found.version);
        let saved = self.save_answer(owner, name, version, &answer);
        let warning = saved.err().map(|e| format!("the answer for step {owner}/{name}: {e}"));
        Ok(Resolved { found, kept, warning })
    }

    /// The files of an exact version, if they are here.
    pub fn kept(&self, owner: &str, name: &str, version: &str) -> Option<PathBuf> {
        let dir = self.directory(owner, name, version).ok()?;
        fs::symlink_metadata(&dir).is_ok_and(|m| m.is_dir()).then_some(dir)
    }

    /// Keeps the files of an exact version: a copy of a directory, without links that lead out.
    /// What somebody else kept meanwhile stays.
    pub fn put(&self, owner: &str, name: &str, version: &str, from: &Path) -> Result<PathBuf> {
        let to = self.directory(owner, name, version)?;
        if self.kept(owner, name, version).is_some() {
            return Ok(to);
        }
        let failed = |e: io::Error| failed("StepCache::put", &to, &e);
        fs::create_dir_all(&self.root).map_err(failed)?;
        let draft = self.root.join(format!(".draft-{}", kiln::BuildId::random()));
        let done = local::copy(from, &draft).and_then(|()| match fs::rename(&draft, &to) {
            Err(_) if self.kept(owner, name, version).is_some() => Ok(()),
            other => other.map_err(failed),
        });
        // Only there if something went wrong, or somebody else was first.
        let _ = fs::remove_dir_all(&draft);
        done.map(|()| to)
    }

    /// Copies the files of an exact version into a directory, which it makes.
    pub fn take(&self, owner: &str, name: &str, version: &str, into: &Path) -> Result<()> {
        let from = self.kept(owner, name, version).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "StepCache::take", "the step is not kept")
                .with("step", format!("{owner}/{name}@{version}"))
        })?;
        local::copy(&from, into)
    }

    fn directory(&self, owner: &str, name: &str, version: &str) -> Result<PathBuf> {
        if ![owner, name, version].into_iter().all(is_exact_version) {
            let message = "that names no version of a step";
            return Err(Error::new(ErrorKind::Invalid, "StepCache::put", message));
        }
        // With the owner's dashes doubled, the single one is where the name begins.
        Ok(self.root.join(format!("{}-{name}@{version}", owner.replace('-', "--"))))
    }

    fn answer_file(&self, owner: &str, name: &str, version: &str) -> PathBuf {
        let version: String = version
            .chars()
            .map(|c| match c {
                '*' => "newest".to_owned(),
                '^' => "caret".to_owned(),
                '~' => "tilde".to_owned(),
                c => c.to_string(),
            })
            .collect();
        self.root.join(format!("{}-{name}@{version}.json", owner.replace('-', "--")))
    }

    fn last_answer(&self, owner: &str, name: &str, version: &str) -> Option<Answer> {
        let file = self.answer_file(owner, name, version);
        if fs::symlink_metadata(&file).ok().filter(|m| m.is_file())?.len() > ANSWER_MAX {
            return None;
        }
        let answer: Answer = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        Some(answer).filter(|a| is_exact_version(&a.version))
    }

    fn save_answer(
        &self,
        owner: &str,
        name: &str,
        version: &str,
        answer: &Answer,
    ) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let draft = self.root.join(format!(".draft-{}", kiln::BuildId::random()));
        let done = fs::write(&draft, serde_json::to_vec(answer)?)
            .and_then(|()| fs::rename(&draft, self.answer_file(owner, name, version)));
        if done.is_err() {
            let _ = fs::remove_file(&draft);
        }
        done
    }
}

impl Answer {
    fn found(&self) -> Found {
        Found {
            version: self.version.clone(),
            tarball_url: self.tarball_url.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

fn failed(op: &'static str, path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, op, error.to_string()).with("path", path.display())
}
