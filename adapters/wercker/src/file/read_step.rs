//! Steps, in all the forms in which they are written.

use super::{
    Diagnostic, Place, Property, Spanned, StepDef,
    diagnostic::printable,
    keys,
    limits::{CODE_BYTES_MAX, PROPERTIES_MAX, STEPS_MAX, VALUE_BYTES_MAX},
    lines::line_at,
    mistake,
    reader::{Entries, Reader},
    text::nearest,
    yaml::{Kind, Node},
};
use crate::step::{INTERNAL, StepRef, StepSource, check_internal};

impl Reader<'_> {
    /// A list of steps. `what` is what the list is.
    pub(crate) fn steps(&mut self, node: &Node, what: &str) -> Vec<StepDef> {
        let Some(list) = self.list(node, what, "steps") else { return Vec::new() };
        if !self.fits(node.place, list.len(), STEPS_MAX, "steps") {
            return Vec::new();
        }
        list.iter().filter_map(|item| self.step(item)).collect()
    }

    fn step(&mut self, node: &Node) -> Option<StepDef> {
        match &*node.kind {
            Kind::Text { .. } => {
                let id = self.text(node, "the id of a step")?;
                self.plain_step(id)
            }
            Kind::Map(_) => {
                let entries = self.entries(node, "a step")?;
                self.map_step(node, entries)
            }
            Kind::Null => {
                let error = self.source.error(node.place, "empty-step", "a step is empty");
                self.tell(error.expected("an id, or an id with properties below it"));
                None
            }
            Kind::List(_) => {
                self.wrong(node, "a step", "an id, or an id with properties below it");
                None
            }
        }
    }

    /// `- id`.
    fn plain_step(&mut self, id: Spanned<String>) -> Option<StepDef> {
        let first = line_at(self.source, id.place);
        // A list item that is deeper than the one above is a part of that one's text.
        if self.source.slice(id.place).contains('\n') {
            let message = "the lines below it belong to the id of the step";
            let error = self.source.error(id.place, "indentation", message);
            let error = error.expected("each `- ` in the same column as the one above");
            self.tell(
                error.help("Indent the next line like this one, or write a colon behind the id."),
            );
            return None;
        }
        if !id.contains('"')
            && let Some(told) = mistake::missing_space(self.source, first)
        {
            self.tell(told);
            return None;
        }
        let def = StepDef { id, properties: Vec::new() };
        self.check_step(&def).then_some(def)
    }

    /// `- id:` with properties below it, or in the same column.
    fn map_step(&mut self, node: &Node, mut entries: Entries<'_>) -> Option<StepDef> {
        if entries.is_empty() {
            let error = self.source.error(node.place, "empty-step", "a step is an empty map");
            self.tell(error.expected("the id of a step"));
            return None;
        }
        let (id, value) = entries.remove(0);
        if let Some((second, _)) = entries.iter().find(|(key, value)| is_step(key, value)) {
            let message = format!("`{}` and `{}` are in one step", shown(&id), shown(second));
            let error = self.source.error(second.place, "two-steps", message);
            let error = error.related(id.place, format!("`{}` is here", shown(&id)));
            let blanks = " ".repeat((id.place.column as usize).saturating_sub(3));
            self.tell(
                error
                    .expected("`- ` before each step")
                    .mended(format!("{blanks}- {}:", shown(second))),
            );
            return None;
        }
        if entries.is_empty() || matches!(*value.kind, Kind::Null) {
            let properties = if entries.is_empty() { self.below(&id, value)? } else { entries };
            return self.with_properties(id, value, properties);
        }
        let (other, _) = &entries[0];
        let error = if matches!(*value.kind, Kind::Map(_)) {
            let message =
                format!("`{}` is beside the step `{}`, not below it", shown(other), shown(&id));
            let error = self.source.error(other.place, "indentation", message);
            error.expected("all properties of a step in the same column")
        } else {
            self.no_properties(&id, value)
        };
        self.tell(error);
        None
    }

    /// The properties below an id.
    fn below<'n>(&mut self, id: &Spanned<String>, value: &'n Node) -> Option<Entries<'n>> {
        match &*value.kind {
            // The original refused the first of these and took the second.
            Kind::Null => {
                self.empty(id);
                Some(Vec::new())
            }
            Kind::Map(pairs) if pairs.is_empty() => {
                self.empty(id);
                Some(Vec::new())
            }
            Kind::Map(_) => self.entries(value, "a step"),
            _ => {
                let error = self.no_properties(id, value);
                self.tell(error);
                None
            }
        }
    }

    fn empty(&mut self, id: &Spanned<String>) {
        let message = format!("there is nothing below the step `{}`", shown(id));
        let warning = self.source.warning(id.place, "empty-step", message);
        self.tell(warning.help(format!("Write `- {}`, or properties below it.", shown(id))));
    }

    /// `- script: echo`.
    fn no_properties(&self, id: &Spanned<String>, value: &Node) -> Diagnostic {
        let line = line_at(self.source, value.place);
        if matches!(*value.kind, Kind::Text { .. })
            && let Some(told) = mistake::missing_space(self.source, line)
        {
            return told;
        }
        let message =
            format!("the step `{}` has {} in place of properties", shown(id), value.what());
        let error = self.source.error(value.place, "no-properties", message);
        let error = error.expected("keys and values below it");
        let Kind::Text { text, .. } = &*value.kind else { return error };
        if *id.value != *"script" {
            return error;
        }
        let blanks = " ".repeat((id.place.column as usize).saturating_sub(3));
        let code: Vec<String> = text.lines().take(3).map(|l| printable(l, 100)).collect();
        let inner = format!("\n{blanks}      ");
        error.mended(format!(
            "{blanks}- {}:\n{blanks}    code: |{inner}{}",
            shown(id),
            code.join(&inner)
        ))
    }

    fn with_properties(
        &mut self,
        id: Spanned<String>,
        value: &Node,
        entries: Entries<'_>,
    ) -> Option<StepDef> {
        let place = if entries.is_empty() { id.place } else { value.place };
        if !self.fits(place, entries.len(), PROPERTIES_MAX, "properties") {
            return None;
        }
        let mut properties = Vec::new();
        for (key, value) in entries {
            let max = if *key == "code" { CODE_BYTES_MAX } else { VALUE_BYTES_MAX };
            let value = self.property(&key, value, max);
            properties.extend(value.map(|value| Property { key, value }));
        }
        let def = StepDef { id, properties };
        self.check_step(&def).then_some(def)
    }

    fn check_step(&mut self, def: &StepDef) -> bool {
        let step = match StepRef::parse(&def.id) {
            Ok(step) => step,
            Err(error) => {
                let hidden = self.source.hides(def.id.place);
                let message = if hidden { error.problem().to_owned() } else { error.to_string() };
                let error = self.source.error(def.id.place, "step-id", message);
                self.tell(error.expected("`[owner/]name[@version]`, and perhaps a \"URL\""));
                return false;
            }
        };
        match step.source {
            StepSource::Script => self.check_script(def),
            StepSource::Internal if !INTERNAL.contains(&step.name.as_str()) => {
                self.unknown_internal(def, &step.name);
                false
            }
            StepSource::Internal => {
                let told = check_internal(self.source, &step, def);
                let fine = !told.iter().any(Diagnostic::is_error);
                told.into_iter().for_each(|told| self.tell(told));
                fine
            }
            _ => true,
        }
    }

    fn unknown_internal(&mut self, def: &StepDef, name: &str) {
        let message = format!("there is no step `{}`", shown(&def.id));
        let error = self.source.error(def.id.place, "unknown-internal-step", message);
        let names = format!("one of `internal/{}`", INTERNAL.join("`, `internal/"));
        let error = error.expected(names);
        self.tell(match nearest(name, INTERNAL) {
            Some(near) => error.help(format!("Did you mean `internal/{near}`?")),
            None => error,
        });
    }

    fn check_script(&mut self, def: &StepDef) -> bool {
        match def.property("code") {
            Some(code) if code.trim().is_empty() => {
                let warning = self.source.warning(
                    at(code.place, def),
                    "empty-code",
                    "a script has no code in it",
                );
                self.tell(warning.expected("commands, behind `code: |`"));
                true
            }
            Some(_) => true,
            None => {
                let error = self.source.error(
                    def.id.place,
                    "script-without-code",
                    "a script has no `code`",
                );
                let near = def.properties.iter().find(|p| nearest(&p.key, ["code"]).is_some());
                let error = error.expected("`code:` with the commands, below `- script:`");
                self.tell(match near {
                    Some(p) => error.related(p.key.place, "did you mean `code`?"),
                    None => error,
                });
                false
            }
        }
    }
}

/// A place, or that of the step where a value is nothing and so nowhere.
fn at(place: Place, def: &StepDef) -> Place {
    if place.start == place.end { def.id.place } else { place }
}

/// Whether a further key of a step is a step of its own: it has properties, or it has nothing and
/// is no property that every step has.
fn is_step(key: &Spanned<String>, value: &Node) -> bool {
    match &*value.kind {
        Kind::Map(_) => true,
        Kind::Null => !keys::has(keys::STEP, key) && key.contains('-'),
        _ => false,
    }
}

fn shown(text: &str) -> String {
    printable(text, 60)
}
