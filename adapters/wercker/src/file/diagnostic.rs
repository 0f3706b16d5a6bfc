use super::{Place, limits::LINE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, sync::Arc};

/// How many characters of a text a diagnostic quotes.
const TEXT_CHARS_MAX: usize = 120;
/// How many characters a sentence of a diagnostic has.
const SAID_CHARS_MAX: usize = 1000;
/// How many characters of a line a diagnostic quotes.
const LINE_CHARS_MAX: usize = 400;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, though perhaps not as it was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What is wrong in a file, where, and what to do about it.
///
/// Its form in JSON is part of `kiln check --json`: `docs/wercker.md` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of trouble it is: kebab-case, and the same for ever.
    pub code: Cow<'static, str>,
    /// What is wrong: a sentence without its full stop.
    pub message: String,
    /// The name of the file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters it is about on that line, at least 1.
    pub length: u32,
    /// The text it is about: one line, shortened. Empty where a secret stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// What was expected in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do next: whole sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What should be written instead: one or a few lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended: Option<String>,
    /// Another place that has to do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
    /// The line as it is in the file, shortened; none where a secret stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Another place that has to do with a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is there.
    pub message: String,
}

impl Diagnostic {
    /// With what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(printable(&expected.into(), SAID_CHARS_MAX));
        self
    }

    /// With what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into(), SAID_CHARS_MAX));
        self
    }

    /// With what should be written instead.
    #[must_use]
    pub fn mended(mut self, lines: impl Into<String>) -> Self {
        // Where the line is not shown, because it has a secret, no other form of it is.
        if self.source.is_some() {
            let lines: Vec<String> =
                lines.into().lines().map(|line| printable(line, LINE_CHARS_MAX)).collect();
            self.mended = Some(lines.join("\n"));
        }
        self
    }

    /// With another place that has to do with it.
    #[must_use]
    pub fn related(mut self, place: Place, message: impl Into<String>) -> Self {
        let Place { line, column, .. } = place;
        let message = printable(&message.into(), SAID_CHARS_MAX);
        self.related = Some(Related { line, column, message });
        self
    }

    /// Without any text of the file, since a secret stands there.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.text.clear();
        self.source = None;
        self.mended = None;
        self
    }

    /// Whether the file cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line: `file:line:column: severity[code]: message`, with what was expected and the help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, code, message, file, line, column, .. } = self;
        write!(f, "{file}:{line}:{column}: {severity}[{code}]: {message}")?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected: {expected}")?;
        }
        match &self.help {
            Some(help) => write!(f, ". {help}"),
            None => Ok(()),
        }
    }
}

/// The text of a file and its name: what diagnostics quote from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// A file.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: printable(name, TEXT_CHARS_MAX).into(), text: text.into() }
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands at a place; nothing if the place is of another file.
    pub fn slice(&self, place: Place) -> &str {
        self.text.get(place.start..place.end).unwrap_or_default()
    }

    /// The line in which a byte is, without its end; nothing if it is longer than 4096 bytes.
    pub fn line_at(&self, byte: usize) -> &str {
        let text = self.text.as_bytes();
        let at = byte.min(text.len());
        let from = at.saturating_sub(LINE_BYTES_MAX);
        let before = text[from..at].iter().rposition(|&b| b == b'\n').map(|i| from + i + 1);
        let Some(start) = before.or((from == 0).then_some(0)) else { return "" };
        let to = text.len().min(start + LINE_BYTES_MAX);
        let end = text[start..to].iter().position(|&b| b == b'\n').map(|i| start + i);
        let Some(end) = end.or((to == text.len()).then_some(to)) else { return "" };
        self.text.get(start..end).unwrap_or_default().trim_end_matches('\r')
    }

    /// Whether a secret seems to be written on the line of a place, so that messages quote nothing.
    pub fn hides(&self, place: Place) -> bool {
        has_secret(self.line_at(place.start))
    }

    /// An error at a place.
    pub fn error(
        &self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic(Severity::Error, place, code, message.into())
    }

    /// A warning at a place.
    pub fn warning(
        &self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic(Severity::Warning, place, code, message.into())
    }

    fn diagnostic(
        &self,
        severity: Severity,
        place: Place,
        code: &'static str,
        message: String,
    ) -> Diagnostic {
        let text = self.slice(place).lines().next().unwrap_or_default().trim_end();
        let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX).max(1);
        let line = self.line_at(place.start);
        let hidden = line.is_empty() || has_secret(line);
        let diagnostic = Diagnostic {
            severity,
            code: code.into(),
            message: printable(&message, SAID_CHARS_MAX),
            file: self.name.to_string(),
            line: place.line,
            column: place.column,
            length,
            text: printable(text, TEXT_CHARS_MAX),
            expected: None,
            help: None,
            mended: None,
            related: None,
            source: (place.column as usize <= LINE_CHARS_MAX)
                .then(|| shortened(line, LINE_CHARS_MAX)),
        };
        if hidden { diagnostic.hidden() } else { diagnostic }
    }
}

/// Whether a line gives something a value that is probably secret, and not just a variable.
fn has_secret(line: &str) -> bool {
    const WORDS: [&str; 8] =
        ["password", "passwd", "secret", "token", "private", "access-key", "api-key", "auth"];
    let line = line.to_ascii_lowercase().replace('_', "-");
    let login = |rest: &str| {
        let host = rest.split(|c: char| c == '/' || c.is_whitespace()).next().unwrap_or_default();
        host.rsplit_once('@').is_some_and(|(login, _)| {
            login.split_once(':').is_some_and(|(_, password)| !password.starts_with('$'))
        })
    };
    if line.split("://").skip(1).any(login) {
        return true;
    }
    WORDS.iter().flat_map(|word| line.match_indices(word)).any(|(at, word)| {
        let rest = &line[at + word.len()..];
        let (key, value) = rest.split_once(':').unwrap_or_default();
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        let key = key.chars().all(|c| c.is_alphanumeric() || "-\"' ".contains(c));
        key && !value.is_empty() && !value.starts_with('$')
    })
}

/// A text that may be shown: shortened, and without what a terminal would obey.
pub(crate) fn printable(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(chars_max) {
        if is_odd(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// A line of a file, in which each character stays one character, so that columns stay.
fn shortened(line: &str, chars_max: usize) -> String {
    let shown = line.chars().take(chars_max).map(|c| match c {
        '\t' => '\t',
        c if is_odd(c) => '\u{fffd}',
        c => c,
    });
    shown.collect()
}

/// Control characters, and those that turn the direction of a line.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
