//! What a run is told beside the file: the settings of the plan step.

use kiln::{
    RelPath, SourceSpec,
    secret::{SecretRef, Value},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// The version of the settings that this code reads and writes.
pub const SETTINGS_VERSION: u32 = 1;

/// What a run is told beside the file: the settings of a step [`kiln::Op::Plan`] with the planner
/// [`PLANNER`](super::PLANNER).
///
/// Everything but the version may be left out. An unknown name is an error, so that none is
/// misspelled. It is stored in the plan: values of secrets are not in it, only their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Always [`SETTINGS_VERSION`].
    pub version: u32,
    /// The pipeline.
    #[serde(default = "build")]
    pub pipeline: String,
    /// Whether it is a build or a deploy; without it, a pipeline `deploy`, one with a deploy target
    /// and one with an input are deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The deploy target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_target: Option<String>,
    /// The file, below the directory of the plan step; else the first that is there of
    /// [`FILE_NAMES`](crate::file::FILE_NAMES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<RelPath>,
    /// The id that steps and tags of images show; that of the build without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Where people look at the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_url: Option<String>,
    /// Who started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// When it was started, in seconds since the start of 1970 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// What is built.
    #[serde(default)]
    pub application: Application,
    /// Where the source comes from, as far as the fetch before the plan step does not say it.
    #[serde(default)]
    pub git: Git,
    /// Variables from outside, by the names that steps see: `NAME` for `X_NAME` and, as a secret,
    /// for `XXX_NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Value>,
    /// The image to make of the box at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Whether an image is made of the box after every step, and not only where a step says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub checkpoints: bool,
    /// Logins, by the registry as an image names it, such as `docker.io` or `localhost:5000`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logins: BTreeMap<String, SecretRef>,
    /// Whether the output and the artifacts of steps are kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub artifacts: bool,
    /// The cache; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// The longest time of a step where the file says none, in milliseconds; 25 minutes without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_timeout_ms: Option<u64>,
    /// The longest time a step may be silent where the file says none, in milliseconds; 5 minutes
    /// without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_response_timeout_ms: Option<u64>,
    /// Bytes of memory for the box and its services together: three quarters are for the box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// A directory of this machine that steps work on themselves, in place of a copy of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_mount: Option<PathBuf>,
    /// Whether steps may be directories: of the source, or of this machine. The planner has to
    /// allow that too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub local_steps: bool,
    /// Whether the box may have directories of this machine: `volumes` in the file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub volumes: bool,
    /// Whether the ports of the box can be reached from its host: `ports` in the file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub expose_ports: bool,
    /// Whether steps are there that only make sense while somebody watches: `internal/watch`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dev: bool,
    /// The address of the registry of steps; that of the planner without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Whether the registry is asked again for every step without an exact version.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refresh: bool,
    /// What steps work on in place of the source: the output of an earlier run, say. An archive
    /// with just one directory stands for that directory. An upload has to be fetched into `input`
    /// by the plan that is submitted; anything else the planner fetches itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<SourceSpec>,
    /// The image of the last build: what `$WERCKER_LAST_BUILD_BOX` stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_build_box: Option<String>,
}

/// What a run is for; it decides which variables steps see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `BUILD` and `CI` are `true`.
    Build,
    /// `DEPLOY` is `true`.
    Deploy,
}

/// What is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name; also that of checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of whom it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where people look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Where the source comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// Such as `github.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Such as `kiln-ci`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Such as `kiln`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Such as `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Such as `v1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The id of the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// The image that is made of the box at the end, under the tags of the run's id, `latest`, and
/// `green` or `red`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its name without a tag.
    pub repository: String,
    /// More tags; `/` becomes `_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A remark kept with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether all its tags are pushed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub push: bool,
}

/// What one run leaves for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Its name among those of the owner; [`kiln::CacheKey`].
    pub key: String,
    /// How many bytes it may have; 1000 MB without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: SETTINGS_VERSION,
            pipeline: build(),
            kind: None,
            deploy_target: None,
            file: None,
            run_id: None,
            run_url: None,
            started_by: None,
            started: None,
            application: Application::default(),
            git: Git::default(),
            env: BTreeMap::new(),
            commit: None,
            checkpoints: false,
            logins: BTreeMap::new(),
            artifacts: false,
            cache: None,
            command_timeout_ms: None,
            no_response_timeout_ms: None,
            memory_bytes: None,
            direct_mount: None,
            local_steps: false,
            volumes: false,
            expose_ports: false,
            dev: false,
            registry: None,
            refresh: false,
            input: None,
            last_build_box: None,
        }
    }
}

/// The longest time of a step where nobody says one.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(25 * 60);
/// The longest time without output where nobody says one.
const NO_RESPONSE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

impl Settings {
    /// Reads settings as they are in a plan.
    pub fn read(value: &serde_json::Value) -> Result<Self, String> {
        // Its own words first: an unknown name says little of a newer version.
        if let Some(version) = value.get("version").and_then(serde_json::Value::as_u64)
            && version != u64::from(SETTINGS_VERSION)
        {
            return Err(format!("they have version {version}, this reads {SETTINGS_VERSION}"));
        }
        let settings = Self::deserialize(value).map_err(|e| e.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        for (name, value) in &self.env {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty()
                || name.starts_with(|c: char| c.is_ascii_digit())
                || !name.chars().all(legal)
            {
                return Err(format!("`{}` is no name of a variable", name.escape_debug()));
            }
            match value {
                Value::Text(text) if text.contains('\0') => {
                    return Err(format!("the variable `{name}` has a NUL byte"));
                }
                Value::Text(_) | Value::Secret(_) => {}
                Value::Fact(_) => {
                    return Err(format!("the variable `{name}` is neither a text nor a secret"));
                }
            }
        }
        let sane = |id: &String| {
            let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !id.is_empty() && id.len() <= 128 && id.chars().all(legal)
        };
        match self.run_id.as_ref().filter(|id| !sane(id)) {
            Some(id) => Err(format!("`{}` is no id of a run", id.escape_debug())),
            None => Ok(()),
        }
    }

    /// Whether it is a build or a deploy.
    pub fn kind(&self) -> Kind {
        let deploy =
            self.pipeline == "deploy" || self.deploy_target.is_some() || self.input.is_some();
        self.kind.unwrap_or(if deploy { Kind::Deploy } else { Kind::Build })
    }

    /// The longest time of a step where the file says none.
    pub fn command_timeout(&self) -> Duration {
        self.command_timeout_ms.map_or(COMMAND_TIMEOUT, Duration::from_millis)
    }

    /// The longest time a step may be silent where the file says none.
    pub fn no_response_timeout(&self) -> Duration {
        self.no_response_timeout_ms.map_or(NO_RESPONSE_TIMEOUT, Duration::from_millis)
    }
}

fn build() -> String {
    "build".into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::SecretRef;
    use serde_json::json;

    #[test]
    fn only_the_version_has_to_be_there() {
        assert_eq!(Settings::read(&json!({"version": 1})), Ok(Settings::default()));
        let stored = serde_json::to_value(Settings::default()).unwrap();
        assert_eq!(
            stored,
            json!({"version": 1, "pipeline": "build", "application": {}, "git": {}})
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let rows = [
            (json!({}), "missing field `version`"),
            (json!({"version": 2, "new": 1}), "they have version 2, this reads 1"),
            (json!({"version": 1, "pipelin": "x"}), "unknown field `pipelin`"),
            (json!({"version": 1, "git": {"comit": "x"}}), "unknown field `comit`"),
            (json!({"version": 1, "env": {"A-B": {"text": ""}}}), "`A-B` is no name of a variable"),
            (json!({"version": 1, "env": {"A": {"text": "\0"}}}), "`A` has a NUL byte"),
            (json!({"version": 1, "run_id": "a/b"}), "`a/b` is no id of a run"),
            (json!([]), "invalid"),
        ];
        for (value, problem) in rows {
            let error = Settings::read(&value).unwrap_err();
            assert!(error.contains(problem), "{value}: {error}");
        }
    }

    #[test]
    fn a_deploy_is_known_by_what_it_has() {
        let kind = |pipeline: &str, target: Option<&str>| {
            let (pipeline, deploy_target) = (pipeline.to_owned(), target.map(str::to_owned));
            Settings { pipeline, deploy_target, ..Settings::default() }.kind()
        };
        assert_eq!(kind("build", None), Kind::Build);
        assert_eq!(kind("deploy", None), Kind::Deploy);
        assert_eq!(kind("x", Some("production")), Kind::Deploy);
        let asked =
            Settings { kind: Some(Kind::Build), pipeline: "deploy".into(), ..Settings::default() };
        assert_eq!(asked.kind(), Kind::Build);
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        let mut settings = Settings { dev: true, ..Settings::default() };
        settings.env.insert("A".into(), "1".into());
        settings.env.insert("B".into(), Value::Secret(SecretRef::new("b").unwrap()));
        settings.input = Some(SourceSpec::new("upload:x"));
        let stored = serde_json::to_value(&settings).unwrap();
        assert_eq!(Settings::read(&stored), Ok(settings));
    }
}
