//! What a step is told: its properties, made into variables by the rule of `WERCKER_S3SYNC_KEY_ID`.

use super::{Manifest, PropertySpec, StepRef, Template};
use crate::file::{Diagnostic, Property, Source, Spanned, StepDef};
use std::collections::BTreeMap;

/// The properties that say how a step runs, and are no variables of it unless its manifest says so.
pub const SPECIAL: [&str; 4] = ["name", "cwd", "checkpoint", "code"];

/// How long a variable may be, with its name: Linux starts no program with a longer one.
const EXPORT_MAX: usize = 128 * 1024 - 1;

/// A variable that a step is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name, which every shell takes.
    pub name: String,
    /// Its value, in which other variables may stand.
    pub value: Template,
}

/// What a step is told, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// Its variables: those of the manifest in its order, then the others as they are written.
    pub exports: Vec<Export>,
    /// What is wrong, with the place in `wercker.yml`.
    pub diagnostics: Vec<Diagnostic>,
}

/// The variable of a step's property: `WERCKER_`, the step's name, `_` and the key, in upper case
/// and with `_` for `-`. None if no shell would take that.
pub fn variable(step: &str, key: &str) -> Option<String> {
    let name = format!("WERCKER_{step}_{key}").replace('-', "_").to_ascii_uppercase();
    is_variable(&name).then_some(name)
}

/// Whether every shell takes a text as the name of a variable.
pub fn is_variable(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(legal)
}

/// Checks what a step is told against its manifest and makes variables of it.
///
/// A property that the manifest does not declare is told too, with a warning: steps read such ones.
/// What is declared and not told has its default, or is empty. What expands in the container is
/// not checked for its type, since nobody knows yet what it will be.
pub fn exports(
    source: &Source,
    step: &StepRef,
    def: &StepDef,
    manifest: Option<&Manifest>,
) -> Exports {
    let mut made = Maker { source, step, def, done: Exports::default() };
    let declared: &[PropertySpec] = manifest.map_or(&[], |m| &m.properties);
    let given = made.given(declared);
    for spec in declared {
        made.declared(spec, &given);
    }
    for (name, property) in made.in_order(&given) {
        let known = |s: &PropertySpec| variable(&step.name, &s.name).as_ref() == Some(&name);
        if declared.iter().any(known) {
            continue;
        }
        if !declared.is_empty() {
            made.unknown(property, declared);
        }
        made.export(name, &property.value.value, Some(&property.value));
    }
    made.done
}

struct Maker<'a> {
    source: &'a Source,
    step: &'a StepRef,
    def: &'a StepDef,
    done: Exports,
}

type Given<'a> = BTreeMap<String, &'a Property>;

impl<'a> Maker<'a> {
    /// Tells of a property. What a secret stands on is not quoted.
    fn tell(&mut self, name: &str, diagnostic: Diagnostic) {
        let hidden = is_secret(name);
        self.done.diagnostics.push(if hidden { diagnostic.hidden() } else { diagnostic });
    }

    /// What is written, by variable.
    fn given(&mut self, declared: &[PropertySpec]) -> Given<'a> {
        let mut given = Given::new();
        for property in &self.def.properties {
            let key = property.key.value.as_str();
            if SPECIAL.contains(&key) && !declared.iter().any(|s| s.name == key) {
                continue;
            }
            let Some(name) = variable(&self.step.name, key) else {
                let message =
                    format!("the property `{key}` of step `{}` makes no variable", self.step);
                let error = self.source.error(property.key.place, "bad-property-name", message);
                self.tell(key, error.expected("letters, digits, `-` and `_`"));
                continue;
            };
            if let Some(first) = given.get(&name) {
                let (first, place) = (first.key.value.clone(), first.key.place);
                let message = format!("`{key}` and `{first}` are both the variable {name}");
                let error = self.source.error(property.key.place, "same-variable", message);
                let error = error.related(place, "the first is here").help("Remove one of them.");
                self.tell(key, error);
                continue;
            }
            given.insert(name, property);
        }
        given
    }

    fn in_order(&self, given: &Given<'a>) -> Vec<(String, &'a Property)> {
        let mut all: Vec<_> = given.iter().map(|(n, p)| (n.clone(), *p)).collect();
        all.sort_by_key(|(_, p)| {
            self.def.properties.iter().position(|q| std::ptr::eq(*p, q)).unwrap_or(usize::MAX)
        });
        all
    }

    fn declared(&mut self, spec: &PropertySpec, given: &Given<'a>) {
        // A property that makes no variable can be read by nobody.
        let Some(name) = variable(&self.step.name, &spec.name) else { return };
        let told = given.get(&name).map(|p| &p.value);
        let empty = told.is_none_or(|v| v.value.is_empty());
        if spec.required && empty && spec.default.as_ref().is_none_or(String::is_empty) {
            let place = told.filter(|v| v.place.line > 0).map_or(self.def.id.place, |v| v.place);
            let message = match told {
                None => format!("step `{}` needs the property `{}`", self.step, spec.name),
                Some(_) => {
                    format!("the property `{}` of step `{}` is empty", spec.name, self.step)
                }
            };
            let error = self.source.error(place, "missing-property", message);
            self.done
                .diagnostics
                .push(error.expected(format!("{}: with {}", spec.name, spec.kind)));
            return;
        }
        let Some(told) = told else {
            let default = spec.default.clone().unwrap_or_default();
            return self.export(name, &default, None);
        };
        if let Some(text) = Template::parse(&told.value).as_literal()
            && !text.is_empty()
            && !spec.kind.accepts(&text)
        {
            let message =
                format!("the property `{}` of step `{}` takes {}", spec.name, self.step, spec.kind);
            let error = self.source.error(told.place, "wrong-type", message);
            let error = error.expected(spec.kind.to_string());
            self.tell(&spec.name, error);
            return;
        }
        self.export(name, &told.value, Some(told));
    }

    fn unknown(&mut self, property: &Property, declared: &[PropertySpec]) {
        let key = &property.key.value;
        let message = format!("step `{}` does not declare the property `{key}`", self.step);
        let near = crate::file::nearest(key, declared.iter().map(|s| s.name.as_str()));
        let names: Vec<_> = declared.iter().map(|s| format!("`{}`", s.name)).collect();
        let warning = self.source.warning(property.key.place, "unknown-property", message);
        let warning = match near {
            Some(near) => warning.help(format!("Did you mean `{near}`?")),
            None => warning.help("The step is given it all the same."),
        };
        self.tell(key, warning.expected(format!("one of {}", names.join(", "))));
    }

    fn export(&mut self, name: String, text: &str, at: Option<&Spanned<String>>) {
        let place = at.map_or(self.def.id.place, |v| v.place);
        let value = Template::parse(text);
        if text.contains('\0') {
            let message = format!("the value of {name} has a NUL byte");
            self.done.diagnostics.push(self.source.error(place, "nul", message).hidden());
            return;
        }
        let length = name.len() + 1 + value.len_of_text();
        if length > EXPORT_MAX {
            let message = format!("{name} would be {length} bytes long, the limit is {EXPORT_MAX}");
            let error = self.source.error(place, "value-too-long", message);
            let help = "No program starts with a longer variable. Put the text into a file.";
            self.done.diagnostics.push(error.help(help).hidden());
            return;
        }
        if at.is_some()
            && let Some(mark) = Template::taken_literally(text)
        {
            let message = format!("`{mark}` in a value is taken literally");
            let warning = self.source.warning(place, "not-expanded", message);
            let help = "Only `$NAME` and `${NAME}` expand; write `\\$` for a dollar that is one.";
            let warning = warning.help(help);
            self.tell(&name, warning);
        }
        self.done.exports.push(Export { name, value });
    }
}

/// Whether the name of a property says that its value is nobody's business.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "key", "credential"].iter().any(|word| name.contains(word))
}
