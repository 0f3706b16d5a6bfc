//! The one error that crosses a port. What goes wrong *in a build* is data: see [`Failure`](crate::Failure).

use std::{collections::BTreeMap, error::Error as StdError, fmt};

/// A result whose error is [`Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can branch on. A kind is added only when code will match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists.
    AlreadyExists,
    /// Somebody else was first; reload and decide anew.
    Conflict,
    /// The input is wrong and stays wrong.
    Invalid,
    /// Not allowed, or not known to be allowed: credentials are missing or wrong.
    Denied,
    /// Too many requests for now.
    RateLimited,
    /// This adapter cannot do that.
    Unsupported,
    /// The other side cannot be reached, or broke.
    Unavailable,
    /// It took longer than allowed.
    Timeout,
    /// Somebody asked to stop.
    Cancelled,
    /// Stored data is not what was stored.
    Corrupt,
    /// A disk, a quota or a limit is full.
    Exhausted,
    /// The user's own code or recipe failed, for example with a non-zero exit code.
    Failed,
    /// None of the others: most likely a defect.
    Unexpected,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The same call will fail in the same way.
    Permanent,
    /// The same call may succeed later.
    Temporary,
    /// It was temporary, was tried again, and failed every time.
    Persistent,
}

/// An error of a port: what kind, whether to try again, in which operation, and what to do next.
///
/// Handling reads [`kind`](Self::kind) and [`status`](Self::status); nobody parses a message.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    status: Status,
    op: &'static str,
    message: String,
    hint: Option<String>,
    exit_code: Option<i64>,
    notes: BTreeMap<String, String>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of a kind, in an operation such as `Store::append`.
    ///
    /// The message is a sentence without its full stop and must not hold a secret.
    pub fn new(kind: ErrorKind, op: &'static str, message: impl Into<String>) -> Self {
        let status = match kind {
            ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout => {
                Status::Temporary
            }
            _ => Status::Permanent,
        };
        Self(Box::new(Inner {
            kind,
            status,
            op,
            message: message.into(),
            hint: None,
            exit_code: None,
            notes: BTreeMap::new(),
            context: Vec::new(),
            source: None,
        }))
    }

    /// Adds a fact, such as the build or the path concerned.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what the reader can do about it, as a sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the exit code of the user's code.
    #[must_use]
    pub fn exit_code(mut self, code: i64) -> Self {
        self.0.exit_code = Some(code);
        self
    }

    /// Adds what the user's code told before it failed, by name.
    #[must_use]
    pub fn notes(mut self, notes: BTreeMap<String, String>) -> Self {
        self.0.notes = notes;
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn source(mut self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(error.into());
        self
    }

    /// Overrides whether trying again can help.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.0.status = status;
        self
    }

    /// What a caller can branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again can help.
    pub fn retry_status(&self) -> Status {
        self.0.status
    }

    /// The operation that failed, such as `Store::append`.
    pub fn operation(&self) -> &'static str {
        self.0.op
    }

    /// What happened, without operation and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the reader can do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The exit code of the user's code, where there is one.
    pub fn code(&self) -> Option<i64> {
        self.0.exit_code
    }

    /// What the user's code told before it failed, by name.
    pub fn told(&self) -> &BTreeMap<String, String> {
        &self.0.notes
    }

    /// The facts that were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(k, v)| (*k, v.as_str()))
    }

    /// Applies `f` to every text in the error, for example to redact it.
    #[must_use]
    pub fn map_text(mut self, f: impl Fn(&str) -> String) -> Self {
        self.0.message = f(&self.0.message);
        self.0.hint = self.0.hint.map(|h| f(&h));
        for (_, value) in &mut self.0.context {
            *value = f(value);
        }
        self.0.notes = self.0.notes.iter().map(|(name, note)| (f(name), f(note))).collect();
        self.0.source = self.0.source.map(|s| f(&s.to_string()).into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?} in {}: {self}", self.0.kind, self.0.status, self.0.op)?;
        match &self.0.source {
            Some(source) => write!(f, ", because {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_sentence_with_its_facts() {
        let e = Error::new(ErrorKind::Conflict, "Store::append", "the journal moved on")
            .with("build", "b1")
            .with("end", 4)
            .hint("Load it again.")
            .source("disk");
        assert_eq!(e.to_string(), "the journal moved on (build: b1, end: 4)");
        assert_eq!(
            format!("{e:?}"),
            "Conflict/Permanent in Store::append: the journal moved on (build: b1, end: 4), because disk"
        );
        assert_eq!(e.map_text(|t| t.replace("disk", "***")).0.source.unwrap().to_string(), "***");
    }

    #[test]
    fn only_what_can_pass_is_temporary() {
        let status = |kind| Error::new(kind, "x", "y").retry_status();
        assert_eq!(status(ErrorKind::Unavailable), Status::Temporary);
        assert_eq!(status(ErrorKind::Timeout), Status::Temporary);
        assert_eq!(status(ErrorKind::Denied), Status::Permanent);
        assert_eq!(status(ErrorKind::Exhausted), Status::Permanent);
    }
}
