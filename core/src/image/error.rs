use std::fmt;

/// How much of a wrong text is kept.
const TEXT_CHARS_MAX: usize = 300;

/// Why a text is not the name of an image, and where.
///
/// A user name and password before a registry are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRefError {
    /// The text; at most its first 300 characters.
    pub text: String,
    /// The byte at which the trouble begins.
    pub at: usize,
    /// What is wrong.
    pub problem: &'static str,
    /// What was probably meant: always the name of an image.
    pub suggestion: Option<String>,
}

impl ImageRefError {
    pub(super) fn new(
        text: &str,
        at: usize,
        problem: &'static str,
        suggestion: Option<String>,
    ) -> Self {
        let text = without_login(text).chars().take(TEXT_CHARS_MAX).collect();
        Self { text, at, problem, suggestion }
    }
}

/// Leaves out what stands between `://` and the last `@` of the host.
fn without_login(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str("://");
        let host = part.split('/').next().unwrap_or_default();
        clean.push_str(host.rfind('@').map_or(part, |at| &part[at + 1..]));
    }
    clean
}

impl fmt::Display for ImageRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for c in self.text.chars() {
            // An error is a line, and what a terminal obeys must not reach one.
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        write!(f, "` is not the name of an image: {}", self.problem)?;
        if let Some(before) = self.text.get(..self.at).filter(|before| !before.is_empty()) {
            write!(f, " (at character {})", before.chars().count() + 1)?;
        }
        match &self.suggestion {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ImageRefError {}
