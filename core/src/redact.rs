//! Takes secrets out of output, however the output is cut into pieces.
//!
//! For every way to split a stream, the redacted bytes are the same. Every occurrence of a secret
//! is replaced by [`MASK`]; occurrences that overlap are one, so that of a secret that is the
//! beginning of another no end shows. How long a secret is does not show, but for the number of its
//! lines where they are found one by one.
//!
//! # In which forms a secret is found
//!
//! - As it is, without the line breaks around it, with line breaks of either kind inside, and line by
//!   line: lines of at least four bytes, without the white space around them. So an indented key is
//!   masked too.
//! - Escaped, where any of its characters may be: percent-encoded (with `+` for a space), escaped for
//!   JSON, also twice, quoted by Go (`%q`), Rust, Python and by shells (`$'…'`, `\` and single
//!   quotes), as XML or HTML entities; or with its quotes doubled.
//! - In base64 (of either alphabet, padded or not) and in hexadecimal digits, as a part of anything
//!   longer, also broken into lines of at least 32 characters, which may be indented and whose breaks
//!   may be escaped: secrets of at least five bytes. The character that it shares with what comes
//!   before it stays.
//!
//! What is encoded in more ways than one, such as base64 of base64 or of text with escapes, is not
//! found. A secret of fewer than [`SECRET_BYTES_MIN`] bytes or of white space only is not redacted, which is
//! said in a warning.
//!
//! # What is held back
//!
//! What cannot be the beginning of a secret, in one of these forms, is given out at once. So a prompt
//! without a line break shows, but for an end of it that is such a beginning, and nothing is given
//! out after some time: a slow secret would show. The longest form of a secret has 13 bytes for each
//! of its own. Nothing depends on how often a secret repeats itself: each byte of output costs the
//! same, within a constant.

mod automaton;
mod coded;
mod escape;
mod line;
mod matcher;
mod plain;
mod sieve;
mod spans;
mod stream;
mod text;
mod units;

#[cfg(test)]
mod tests;

pub use stream::RedactStream;

use crate::secret::Secret;
use matcher::Matcher;
use plain::Pattern;
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// What stands in place of a secret.
pub const MASK: &[u8] = b"***";

/// A secret shorter than this is not redacted: its bytes would be everywhere, and masking them
/// would tell more than it hides.
pub const SECRET_BYTES_MIN: usize = 3;

/// A set of secrets, shared by all its clones and streams. It can grow while streams run.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    matcher: Arc<Matcher>,
    /// What came since the matcher was made; many secrets that come together cost one making.
    more: Vec<Arc<Pattern>>,
}

impl Redactor {
    /// A redactor that knows no secret.
    pub fn new() -> Self {
        Self::default()
    }

    fn matcher(&self) -> Arc<Matcher> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.more.is_empty() {
            return known.matcher.clone();
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut patterns = std::mem::take(&mut known.more);
        if !patterns.is_empty() {
            patterns.extend_from_slice(known.matcher.patterns());
            known.matcher = Arc::new(Matcher::of(patterns));
        }
        known.matcher.clone()
    }

    /// Redacts a secret from now on. Says whether it can: one that is blank or, without the line
    /// breaks around it, shorter than [`SECRET_BYTES_MIN`] is not.
    pub fn add(&self, secret: &Secret) -> bool {
        let patterns = plain::patterns(secret.expose());
        if patterns.is_empty() {
            tracing::warn!(
                bytes_min = SECRET_BYTES_MIN,
                "a secret that is blank or too short will not be redacted"
            );
            return false;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = patterns.into_iter().filter(|p| !known.matcher.knows(p)).map(Arc::new);
        let new: Vec<_> = new.collect();
        known.more.extend(new);
        true
    }

    /// Starts redacting a stream.
    pub fn stream(&self) -> RedactStream {
        RedactStream::new(self.clone())
    }

    /// Redacts a text that is whole.
    pub fn redact_text(&self, text: &str) -> String {
        let mut stream = self.stream();
        let mut out = stream.push(text.as_bytes()).into_owned();
        out.extend(stream.finish());
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} patterns)", self.matcher().patterns().len())
    }
}
