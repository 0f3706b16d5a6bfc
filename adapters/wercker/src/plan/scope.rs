use super::{Kind, Settings};
use crate::step::{ApplicationVars, GitVars, Paths, PipelineKind, PipelineVars, Template};
use kiln::secret::Value;
use std::collections::BTreeMap;

/// The variable that names the image of the last build.
pub(super) const LAST_BUILD_BOX: &str = "WERCKER_LAST_BUILD_BOX";

/// The variables that are known before there is a box.
#[derive(Clone, Debug)]
pub(super) struct Scope(BTreeMap<String, Value>);

/// A variable that is a secret, where only a text can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IsSecret(pub(super) String);

impl Scope {
    /// What a run tells its steps: the variables of the pipeline, and over them those from outside.
    pub(super) fn new(settings: &Settings, run_id: &str, paths: &Paths) -> Self {
        let vars = variables(settings, run_id, paths).variables();
        let mut all: BTreeMap<_, _> =
            vars.into_iter().map(|(name, text)| (name, Value::Text(text))).collect();
        if let Some(image) = &settings.last_build_box {
            all.insert(LAST_BUILD_BOX.into(), Value::Text(image.clone()));
        }
        all.extend(settings.env.clone());
        Self(all)
    }

    /// All of them.
    pub(super) fn all(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// A text with its variables filled in. What is not known is empty.
    pub(super) fn expand(&self, text: &str) -> Result<String, IsSecret> {
        let template = Template::parse(text);
        let secret =
            template.variables().find(|n| matches!(self.0.get(*n), Some(Value::Secret(_))));
        match secret {
            Some(name) => Err(IsSecret(name.to_owned())),
            None => Ok(template.resolve(|name| self.text(name))),
        }
    }

    /// The same, where a secret may be if it is all there is.
    pub(super) fn value(&self, text: &str) -> Result<Value, IsSecret> {
        let template = Template::parse(text);
        let mut names = template.variables();
        if let (Some(name), None) = (names.next(), names.next())
            && template.parts().len() == 1
            && let Some(secret @ Value::Secret(_)) = self.0.get(name)
        {
            return Ok(secret.clone());
        }
        self.expand(text).map(Value::Text)
    }

    /// The text of a variable, if it is known and no secret.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }
}

fn variables(settings: &Settings, run_id: &str, paths: &Paths) -> PipelineVars {
    let (git, application) = (settings.git.clone(), settings.application.clone());
    PipelineVars {
        kind: match settings.kind() {
            Kind::Build => PipelineKind::Build,
            Kind::Deploy => PipelineKind::Deploy { target: settings.deploy_target.clone() },
        },
        run_url: settings.run_url.clone(),
        started: settings.started,
        started_by: settings.started_by.clone(),
        git: GitVars {
            domain: git.domain,
            owner: git.owner,
            repository: git.repository,
            branch: git.branch,
            tag: git.tag,
            commit: git.commit,
        },
        application: ApplicationVars {
            id: application.id,
            name: application.name,
            owner_name: application.owner,
            url: application.url,
        },
        paths: paths.clone(),
        ..PipelineVars::new(run_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::SecretRef;

    fn scope() -> Scope {
        let mut settings =
            Settings { last_build_box: Some("app:b1".into()), ..Settings::default() };
        settings.env.insert("TOKEN".into(), Value::Secret(SecretRef::new("t").unwrap()));
        settings.env.insert("WERCKER_GIT_TAG".into(), "v9".into());
        Scope::new(&settings, "b2", &Paths::default())
    }

    #[test]
    fn variables_from_outside_win_and_unknown_ones_are_empty() {
        let text = scope().expand("$WERCKER_RUN_ID-${WERCKER_GIT_TAG}$NONE \\$A").unwrap();
        assert_eq!(text, "b2-v9 $A");
        assert_eq!(scope().expand("$WERCKER_LAST_BUILD_BOX").unwrap(), "app:b1");
    }

    #[test]
    fn a_secret_is_no_text() {
        let (secret, scope) = (SecretRef::new("t").unwrap(), scope());
        assert_eq!(scope.value("${TOKEN}"), Ok(Value::Secret(secret)));
        assert_eq!(scope.value("a$TOKEN"), Err(IsSecret("TOKEN".into())));
        assert_eq!(scope.expand("$TOKEN"), Err(IsSecret("TOKEN".into())));
        assert_eq!(scope.text("TOKEN"), None);
    }
}
