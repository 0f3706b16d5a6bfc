//! The variables that every step of a pipeline has.

use super::{Paths, is_variable};
use kiln::Secret;
use std::collections::BTreeMap;

/// What is known of a run; its [`variables`](Self::variables) are what steps see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineVars {
    /// Whether it builds or deploys.
    pub kind: PipelineKind,
    /// The id of the run.
    pub run_id: String,
    /// Where the run is to be seen.
    pub run_url: Option<String>,
    /// When the main pipeline began, in seconds since the start of 1970.
    pub started: Option<u64>,
    /// Who began it.
    pub started_by: Option<String>,
    /// What the source is of.
    pub git: GitVars,
    /// Whose it is.
    pub application: ApplicationVars,
    /// Where things are in the box.
    pub paths: Paths,
}

/// Whether a run builds or deploys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PipelineKind {
    /// It builds.
    #[default]
    Build,
    /// It deploys.
    Deploy {
        /// Where to.
        target: Option<String>,
    },
}

/// What is known of the repository. What is not known is empty, as steps expect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitVars {
    /// The host, such as `github.com`.
    pub domain: Option<String>,
    /// The user or the group.
    pub owner: Option<String>,
    /// The name of the repository.
    pub repository: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The tag.
    pub tag: Option<String>,
    /// The commit.
    pub commit: Option<String>,
}

/// What is known of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationVars {
    /// Its id.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Who owns it.
    pub owner_name: Option<String>,
    /// Where it is to be seen.
    pub url: Option<String>,
}

impl PipelineVars {
    /// A build of which only the id is known.
    pub fn new(run_id: impl Into<String>) -> Self {
        Self {
            kind: PipelineKind::Build,
            run_id: run_id.into(),
            run_url: None,
            started: None,
            started_by: None,
            git: GitVars::default(),
            application: ApplicationVars::default(),
            paths: Paths::default(),
        }
    }

    /// All variables. What the original always sets is there, if need be empty; who began a run,
    /// when, and the target of a deploy are there if they are known.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut set = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
        let (run_url, paths) = (self.run_url.as_deref().unwrap_or_default(), &self.paths);
        set("WERCKER", "true");
        set("TERM", "xterm-256color");
        set("WERCKER_ROOT", &paths.root());
        set("WERCKER_SOURCE_DIR", &paths.source_dir());
        set("WERCKER_CACHE_DIR", &paths.cache());
        set("WERCKER_OUTPUT_DIR", &paths.output());
        set("WERCKER_PIPELINE_DIR", &paths.pipeline);
        set("WERCKER_REPORT_DIR", &paths.report);
        set("WERCKER_RUN_ID", &self.run_id);
        set("WERCKER_RUN_URL", run_url);
        match &self.kind {
            PipelineKind::Build => {
                set("BUILD", "true");
                set("CI", "true");
                set("WERCKER_BUILD_ID", &self.run_id);
                set("WERCKER_BUILD_URL", run_url);
            }
            PipelineKind::Deploy { target } => {
                set("DEPLOY", "true");
                set("WERCKER_DEPLOY_ID", &self.run_id);
                set("WERCKER_DEPLOY_URL", run_url);
                if let Some(target) = target {
                    set("WERCKER_DEPLOYTARGET_NAME", target);
                }
            }
        }
        let (git, application) = (&self.git, &self.application);
        for (name, value) in [
            ("WERCKER_GIT_DOMAIN", &git.domain),
            ("WERCKER_GIT_OWNER", &git.owner),
            ("WERCKER_GIT_REPOSITORY", &git.repository),
            ("WERCKER_GIT_BRANCH", &git.branch),
            ("WERCKER_GIT_TAG", &git.tag),
            ("WERCKER_GIT_COMMIT", &git.commit),
            ("WERCKER_APPLICATION_ID", &application.id),
            ("WERCKER_APPLICATION_NAME", &application.name),
            ("WERCKER_APPLICATION_OWNER_NAME", &application.owner_name),
            ("WERCKER_APPLICATION_URL", &application.url),
        ] {
            set(name, value.as_deref().unwrap_or_default());
        }
        if let Some(started) = self.started {
            set("WERCKER_MAIN_PIPELINE_STARTED", &started.to_string());
        }
        if let Some(by) = &self.started_by {
            set("WERCKER_STARTED_BY", by);
        }
        all
    }
}

/// The variables that a host or a file of variables passes through to a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassThrough {
    /// Those with the prefix `X_`, and proxies, by their names without it.
    pub public: BTreeMap<String, String>,
    /// Those with the prefix `XXX_`, and proxies with a login: nobody may see them.
    pub protected: BTreeMap<String, Secret>,
    /// The names that had a prefix and are none for a shell without it.
    pub refused: Vec<String>,
}

/// The variables that say which proxy to use, which need no prefix.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

impl PassThrough {
    /// Chooses among variables. A protected one is never public, whatever else has its name.
    pub fn of<K, V>(variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: Into<String>,
    {
        let mut all = Self::default();
        for (key, value) in variables {
            let (key, value) = (key.as_ref(), value.into());
            let (name, protected) = if let Some(name) = key.strip_prefix("XXX_") {
                (name, true)
            } else if let Some(name) = key.strip_prefix("X_") {
                (name, false)
            } else if PROXIES.iter().any(|p| key.eq_ignore_ascii_case(p)) {
                (key, value.contains('@'))
            } else {
                continue;
            };
            if !is_variable(name) || value.contains('\0') {
                all.refused.push(key.to_owned());
            } else if protected {
                all.protected.insert(name.to_owned(), Secret::new(value));
            } else {
                all.public.insert(name.to_owned(), value);
            }
        }
        all.public.retain(|name, _| !all.protected.contains_key(name));
        all.refused.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> PipelineVars {
        let some = |text: &str| Some(text.to_owned());
        PipelineVars {
            run_url: some("https://kiln.test/builds/b1"),
            started: Some(1_598_347_071),
            started_by: some("termie"),
            git: GitVars {
                domain: some("github.com"),
                owner: some("wercker"),
                repository: some("project"),
                branch: some("master"),
                tag: some("v1"),
                commit: some("f0f0"),
            },
            application: ApplicationVars {
                id: some("app1"),
                name: some("project"),
                owner_name: some("acme"),
                url: some("https://kiln.test/app1"),
            },
            ..PipelineVars::new("b1")
        }
    }

    fn lines(vars: &PipelineVars) -> String {
        vars.variables().into_iter().map(|(k, v)| format!("{k}={v}\n")).collect()
    }

    #[test]
    fn a_build_has_every_variable() {
        let expected = "\
BUILD=true
CI=true
TERM=xterm-256color
WERCKER=true
WERCKER_APPLICATION_ID=app1
WERCKER_APPLICATION_NAME=project
WERCKER_APPLICATION_OWNER_NAME=acme
WERCKER_APPLICATION_URL=https://kiln.test/app1
WERCKER_BUILD_ID=b1
WERCKER_BUILD_URL=https://kiln.test/builds/b1
WERCKER_CACHE_DIR=/pipeline/cache
WERCKER_GIT_BRANCH=master
WERCKER_GIT_COMMIT=f0f0
WERCKER_GIT_DOMAIN=github.com
WERCKER_GIT_OWNER=wercker
WERCKER_GIT_REPOSITORY=project
WERCKER_GIT_TAG=v1
WERCKER_MAIN_PIPELINE_STARTED=1598347071
WERCKER_OUTPUT_DIR=/pipeline/output
WERCKER_PIPELINE_DIR=/pipeline
WERCKER_REPORT_DIR=/report
WERCKER_ROOT=/pipeline/source
WERCKER_RUN_ID=b1
WERCKER_RUN_URL=https://kiln.test/builds/b1
WERCKER_SOURCE_DIR=/pipeline/source
WERCKER_STARTED_BY=termie
";
        assert_eq!(lines(&full()), expected);
    }

    #[test]
    fn a_deploy_says_so_and_is_no_build() {
        let kind = PipelineKind::Deploy { target: Some("production".into()) };
        let all = PipelineVars { kind, ..full() }.variables();
        let value = |name: &str| all.get(name).map(String::as_str);
        assert_eq!(value("DEPLOY"), Some("true"));
        assert_eq!(value("WERCKER_DEPLOY_ID"), Some("b1"));
        assert_eq!(value("WERCKER_DEPLOY_URL"), Some("https://kiln.test/builds/b1"));
        assert_eq!(value("WERCKER_DEPLOYTARGET_NAME"), Some("production"));
        for none in ["BUILD", "CI", "WERCKER_BUILD_ID", "WERCKER_BUILD_URL"] {
            assert_eq!(value(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_not_known_is_empty_or_left_out() {
        let all = PipelineVars::new("b1").variables();
        assert_eq!(all["WERCKER_GIT_TAG"], "");
        assert_eq!(all["WERCKER_APPLICATION_URL"], "");
        assert!(!all.contains_key("WERCKER_STARTED_BY"));
        assert!(!all.contains_key("WERCKER_MAIN_PIPELINE_STARTED"));
    }

    #[test]
    fn prefixes_pass_variables_through() {
        let given = [
            ("X_PUBLIC", "a"),
            ("XXX_TOKEN", "hunter2"),
            ("X_TOKEN", "shown"),
            ("X_X_Y", "b"),
            ("XX_NO", "c"),
            ("HOME", "/root"),
            ("X_", "d"),
            ("X_1", "e"),
            ("XXX_A-B", "f"),
            ("X_NUL", "a\0b"),
            ("http_proxy", "http://proxy:3128"),
            ("HTTPS_PROXY", "http://u:hunter2@proxy"),
        ];
        let all = PassThrough::of(given);
        let public: Vec<_> = all.public.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(public, ["PUBLIC=a", "X_Y=b", "http_proxy=http://proxy:3128"]);
        assert_eq!(all.protected.keys().collect::<Vec<_>>(), ["HTTPS_PROXY", "TOKEN"]);
        assert_eq!(all.protected["TOKEN"], Secret::new("hunter2"));
        assert_eq!(all.refused, ["XXX_A-B", "X_", "X_1", "X_NUL"]);
        assert!(!format!("{all:?}").contains("hunter2"));
    }
}
