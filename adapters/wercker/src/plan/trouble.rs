use crate::file::{Diagnostic, Place, Source};

/// Collects what is wrong, so that a user learns of everything at once.
#[derive(Debug)]
pub(super) struct Trouble<'a> {
    source: &'a Source,
    found: Vec<Diagnostic>,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new() }
    }

    /// Adds an error; `help` says what to do about it.
    pub(super) fn error(
        &mut self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        help: &str,
    ) {
        let error = self.source.error(place, code, message);
        self.found.push(if help.is_empty() { error } else { error.help(help) });
    }

    /// The same about a text that may be a secret.
    pub(super) fn hidden(
        &mut self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        help: &str,
    ) {
        self.found.push(self.source.error(place, code, message).help(help).hidden());
    }

    pub(super) fn warning(
        &mut self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        help: &str,
    ) {
        let warning = self.source.warning(place, code, message);
        self.found.push(if help.is_empty() { warning } else { warning.help(help) });
    }

    pub(super) fn extend(&mut self, found: impl IntoIterator<Item = Diagnostic>) {
        self.found.extend(found);
    }

    pub(super) fn has_error(&self) -> bool {
        self.found.iter().any(Diagnostic::is_error)
    }

    /// Everything, by place, and once.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|d| (d.line, d.column));
        self.found.dedup();
        self.found
    }
}
