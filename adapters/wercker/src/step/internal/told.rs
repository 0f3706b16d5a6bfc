//! What an internal step is told, value by value.

use crate::file::{Diagnostic, Place, Source, Spanned, StepDef, nearest, words};
use crate::step::{StepRef, Template};

/// The value of a variable, if it has one.
type LookUp<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The properties of a step, of which each is read once.
pub(super) struct Told<'a> {
    source: &'a Source,
    step: &'a StepRef,
    def: &'a StepDef,
    look_up: Option<&'a LookUp<'a>>,
    /// The keys that the step knows: those that were asked for.
    known: Vec<String>,
    found: Vec<Diagnostic>,
}

impl<'a> Told<'a> {
    pub(super) fn new(
        source: &'a Source,
        step: &'a StepRef,
        def: &'a StepDef,
        look_up: Option<&'a LookUp<'a>>,
    ) -> Self {
        let known = ["name", "cwd", "checkpoint"].map(str::to_owned).to_vec();
        Self { source, step, def, look_up, known, found: Vec::new() }
    }

    pub(super) fn step_name(&self) -> &'a str {
        &self.step.name
    }

    fn written(&mut self, key: &str) -> Option<&'a Spanned<String>> {
        self.known.push(key.to_owned());
        self.def.property(key).filter(|value| !value.is_empty())
    }

    /// A value as it is written.
    pub(super) fn template(&mut self, key: &str) -> Option<Template> {
        self.written(key).map(|value| Template::parse(value))
    }

    /// A value with its variables; none also while those are not known.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let template = self.template(key)?;
        let text = match (template.as_literal(), self.look_up) {
            (Some(text), _) => text.into_owned(),
            (None, Some(look_up)) => template.resolve(look_up),
            (None, None) => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// Whether a value is there that nobody knows yet.
    fn is_open(&self, key: &str) -> bool {
        let value = self.def.property(key).map(|v| Template::parse(v));
        self.look_up.is_none() && value.is_some_and(|v| v.as_literal().is_none())
    }

    /// A value without which the step makes no sense.
    pub(super) fn needed(&mut self, key: &str) -> String {
        let text = self.text(key);
        if text.is_none() {
            self.missing(key);
        }
        text.unwrap_or_default()
    }

    /// Says that a value is missing, unless it is there and only not known yet.
    pub(super) fn missing(&mut self, key: &str) {
        if self.is_open(key) {
            return;
        }
        let place = self.place(key);
        let message = format!("step `{}` needs the property `{key}`", self.step);
        let error = self.source.error(place, "missing-property", message);
        self.found.push(error.expected(format!("`{key}: …`")));
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        let text = self.text(key).unwrap_or_default().to_ascii_lowercase();
        match text.as_str() {
            "true" | "yes" | "on" | "1" => true,
            "" | "false" | "no" | "off" | "0" => false,
            _ => {
                self.wrong(key, "it is neither `true` nor `false`", "`true` or `false`");
                false
            }
        }
    }

    /// A list with blanks or commas between its elements.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        parts.filter(|p| !p.is_empty()).map(str::to_owned).collect()
    }

    /// Words as a shell reads them.
    pub(super) fn words(&mut self, key: &str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        if text.trim_start().starts_with('[')
            && let Ok(list) = serde_json::from_str::<Vec<String>>(&text)
        {
            return list;
        }
        let list = words(&text);
        if list.is_none() {
            self.wrong(key, "a quote or a backslash in it has no end", "words as in a shell");
        }
        list.unwrap_or_default()
    }

    /// Words of the form `key=value`.
    pub(super) fn pairs(&mut self, key: &str) -> Vec<(String, String)> {
        let all = self.words(key);
        let mut pairs = Vec::new();
        for word in all {
            match word.split_once('=').filter(|(name, _)| !name.is_empty()) {
                Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
                None => self.wrong(key, "a word of it is no `NAME=value`", "`NAME=value` …"),
            }
        }
        pairs
    }

    /// Says that a value is wrong, if there is a problem.
    pub(super) fn check(&mut self, key: &str, problem: Option<String>) {
        if let Some(problem) = problem {
            let message = format!("`{key}` of step `{}` is wrong: {problem}", self.step);
            let error = self.source.error(self.place(key), "wrong-value", message);
            self.found.push(error.hidden());
        }
    }

    fn wrong(&mut self, key: &str, problem: &str, expected: &str) {
        let message = format!("`{key}` of step `{}` is wrong: {problem}", self.step);
        // What variables stand for is nobody's business, and neither is what is in `env`.
        let error = self.source.error(self.place(key), "wrong-value", message).hidden();
        self.found.push(error.expected(expected));
    }

    /// Properties that the original had and that have no effect here.
    pub(super) fn without_effect(&mut self, keys: &[&str], why: &str) {
        for key in keys {
            if self.written(key).is_some() {
                let message = format!("`{key}` of step `{}` has no effect", self.step);
                let warning = self.source.warning(self.place(key), "no-effect", message);
                self.found.push(warning.hidden().help(format!("Remove it: {why}.")));
            }
        }
    }

    /// The keys for registries of clouds, which have no effect.
    pub(super) fn clouds(&mut self) {
        let keys: Vec<_> = self.def.properties.iter().map(|p| p.key.value.as_str()).collect();
        for key in keys.into_iter().filter(|k| k.starts_with("aws-") || k.starts_with("azure-")) {
            self.known.push(key.to_owned());
            let message = format!("`{key}` of step `{}` has no effect", self.step);
            let warning = self.source.warning(self.place(key), "no-effect", message).hidden();
            let help = "Get a token of that registry in a step before, and name it as `password`.";
            self.found.push(warning.help(help));
        }
    }

    pub(super) fn no_such_step(&mut self) {
        let name = &self.step.name;
        let message = format!("there is no step `internal/{name}`");
        let error = self.source.error(self.def.id.place, "unknown-internal-step", message);
        let names: Vec<_> = super::INTERNAL.iter().map(|n| format!("`internal/{n}`")).collect();
        let error = error.expected(format!("one of {}", names.join(", ")));
        self.found.push(match nearest(name, super::INTERNAL) {
            Some(near) => error.help(format!("Did you mean `internal/{near}`?")),
            None => error,
        });
        self.known.extend(self.def.properties.iter().map(|p| p.key.value.clone()));
    }

    fn place(&self, key: &str) -> Place {
        let value = self.def.property(key).filter(|v| v.place.line > 0);
        value.map_or(self.def.id.place, |v| v.place)
    }

    /// All that is wrong, with what the step was told and does not know.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        for property in &self.def.properties {
            let key = property.key.value.as_str();
            if self.known.iter().any(|k| k == key) {
                continue;
            }
            let message = format!("step `{}` has no property `{key}`", self.step);
            let warning = self.source.warning(property.key.place, "unknown-property", message);
            let near = nearest(key, self.known.iter().map(String::as_str));
            let help = near.map_or("Remove it.".into(), |near| format!("Did you mean `{near}`?"));
            self.found.push(warning.help(help));
        }
        self.found
    }
}
