//! Steps as users see them: in real shells, and row by row as the documents list them.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]
#![expect(clippy::print_stdout, reason = "what was skipped is told")]

mod cache;
mod internal;
mod manifest;
mod shells;
mod text;
mod told;

use kiln_wercker::file::{Diagnostic, Place, Property, Source, Spanned, StepDef};
use std::fmt::Write as _;

/// A step as it is written in a `wercker.yml` of its own, with the places of everything.
pub(crate) fn written(id: &str, properties: &[(&str, &str)]) -> (Source, StepDef) {
    let mut text = format!("- {id}:\n");
    let mut line = 1;
    let place = |text: &str, line: u32, column: usize, what: &str| {
        let start = text.rfind(what).unwrap_or(text.len());
        Place { start, end: start + what.len(), line, column: column as u32 }
    };
    let id = Spanned::new(id.to_owned(), place(&text, 1, 3, id));
    let mut all = Vec::new();
    for (key, value) in properties {
        line += 1;
        let _ = write!(text, "    {key}");
        let key_place = place(&text, line, 5, key);
        let _ = write!(text, ": {value}");
        let value_place = place(&text, line, 7 + key.chars().count(), value);
        text.push('\n');
        let key = Spanned::new((*key).to_owned(), key_place);
        all.push(Property { key, value: Spanned::new((*value).to_owned(), value_place) });
    }
    (Source::new("wercker.yml", &text), StepDef { id, properties: all })
}

/// Diagnostics, one a line.
pub(crate) fn lines(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}
