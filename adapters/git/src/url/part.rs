//! What a part of an address may hold.

use super::{Result, UrlError};

/// Checks the name of a branch, a tag or a commit by git's own rules for names.
pub(crate) fn check_reference(name: &str) -> Result<&str> {
    if name.starts_with('-') {
        return Err(UrlError::Option("reference"));
    }
    let wrong = name.is_empty()
        || name.len() > 1024
        || name.contains("..")
        || name.contains("@{")
        || name.contains("//")
        || name.starts_with('/')
        || name.ends_with(['/', '.'])
        || name.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock"))
        || name.contains(|c: char| is_unprintable(c) || " ~^:?*[\\".contains(c));
    if wrong { Err(UrlError::Part("reference")) } else { Ok(name) }
}

/// Control characters, line separators and marks that turn the direction of text around.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(super) fn check_user(user: &str) -> Result<String> {
    if user.starts_with('-') {
        return Err(UrlError::Option("user"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if user.is_empty() || user.len() > 64 || !user.chars().all(plain) {
        return Err(UrlError::Part("user"));
    }
    Ok(user.to_owned())
}

/// Whether a user name is one of the tokens that people put in front of the `@`.
pub(super) fn looks_secret(user: &str) -> bool {
    let prefixes = ["ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-", "ATBB", "x-token"];
    user.len() >= 32 || prefixes.iter().any(|p| user.starts_with(p))
}

/// Undoes `%20` and its like.
pub(crate) fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(UrlError::Part("percent sign in the path"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    let text = String::from_utf8(bytes).map_err(|_| UrlError::Part("path"))?;
    if text.chars().any(is_unprintable) { Err(UrlError::Control) } else { Ok(text) }
}

/// Writes a path so that it survives [`decode`] and the search for `#`.
pub(super) fn encode(path: &str) -> String {
    path.replace('%', "%25").replace('#', "%23")
}
