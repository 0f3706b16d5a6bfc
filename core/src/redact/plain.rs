//! What is looked for of a secret: itself, its lines, and what changes more than single characters.

use super::SECRET_BYTES_MIN;
use crate::secret::Secret;
use zeroize::Zeroizing;

/// The shortest line of a secret of several lines that is masked by itself.
const LINE_BYTES_MIN: usize = 4;
/// The shortest line of a secret that has its line breaks escaped. Longer than the others, since a
/// password may just hold a backslash before an `n`.
const ESCAPED_LINE_BYTES_MIN: usize = 16;
/// The shortest secret that is looked for in base64 and in hexadecimal digits: of a shorter one, too
/// few characters stay the same.
const CODED_BYTES_MIN: usize = 5;

/// Bytes to look for.
pub(super) struct Pattern {
    pub(super) bytes: Secret,
    /// Whether to look for it in base64 and hexadecimal digits, too.
    pub(super) coded: bool,
}

/// What to look for of a secret. Nothing if it is too short or blank.
pub(super) fn patterns(secret: &[u8]) -> Vec<Pattern> {
    let mut all = Vec::new();
    let mut add = |bytes: &[u8], coded: bool, min: usize| {
        if bytes.len() >= min {
            let coded = coded && bytes.len() >= CODED_BYTES_MIN;
            all.push(Pattern { bytes: Secret::new(bytes), coded });
        }
    };
    // Most secrets in files end with a line break that is no part of them.
    let whole = trim_breaks(secret);
    if whole.len() < SECRET_BYTES_MIN || whole.trim_ascii().is_empty() {
        return all;
    }
    let copy = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
    let mut parts = vec![copy(whole), copy(whole.trim_ascii())];
    if whole.contains(&b'\n') {
        let unix = replace(whole, b"\r\n", b"\n");
        parts.push(replace(&unix, b"\n", b"\r\n"));
        parts.push(unix);
    }
    parts.iter().for_each(|part| add(part, true, SECRET_BYTES_MIN));
    let lines = whole.split(|c| matches!(c, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    if lines.clone().nth(1).is_some() {
        for line in lines.filter(|l| l.len() >= LINE_BYTES_MIN) {
            add(line, false, LINE_BYTES_MIN);
            parts.push(copy(line));
        }
    }
    // In forms a plus stands for a space, and quotes are doubled or put between other quotes.
    for (from, to) in [
        (&b" "[..], &b"+"[..]),
        (b"'", br"'\''"),
        (b"'", br#"'"'"'"#),
        (b"'", b"''"),
        (b"\"", b"\"\""),
    ] {
        for part in parts.iter().filter(|p| p.windows(from.len()).any(|w| w == from)) {
            add(&replace(part, from, to), false, SECRET_BYTES_MIN);
        }
    }
    // A key inside JSON, say, shows its lines once somebody takes it out of there.
    let unix = replace(&replace(whole, br"\r", b""), br"\n", b"\n");
    if unix.len() < whole.len() {
        for line in unix.split(|&c| c == b'\n') {
            add(line.trim_ascii(), false, ESCAPED_LINE_BYTES_MIN);
        }
    }
    all
}

fn trim_breaks(mut bytes: &[u8]) -> &[u8] {
    while let [b'\n' | b'\r', rest @ ..] | [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Zeroizing<Vec<u8>> {
    let (mut out, mut rest) = (Zeroizing::new(Vec::with_capacity(bytes.len() * 2)), bytes);
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(secret: &str, expected: &[&str]) {
        let mut found: Vec<_> =
            patterns(secret.as_bytes()).iter().map(|p| p.bytes.expose().to_vec()).collect();
        found.sort();
        found.dedup();
        let mut expected: Vec<_> = expected.iter().map(|p| p.as_bytes().to_vec()).collect();
        expected.sort();
        assert_eq!(found, expected, "{secret:?}");
    }

    #[test]
    fn lines_and_what_replaces_more_than_a_character_are_patterns() {
        check("abc\r\n", &["abc"]);
        check(" ab c ", &[" ab c ", "ab c", "+ab+c+", "ab+c"]);
        check("it's", &["it's", r"it'\''s", r#"it'"'"'s"#, "it''s"]);
        check(
            "one\r\ntwo four\n",
            &[
                "one\r\ntwo four",
                "one\ntwo four",
                "one\r\ntwo+four",
                "one\ntwo+four",
                "two four",
                "two+four",
            ],
        );
        let key = r#"{"key":"-- BEGIN --\nMIIEvQIBADANBgkqhkiG\nMII"}"#;
        assert!(
            patterns(key.as_bytes()).iter().any(|p| p.bytes == Secret::new("MIIEvQIBADANBgkqhkiG"))
        );
    }

    #[test]
    fn nothing_is_looked_for_of_a_blank_or_short_secret() {
        for secret in ["", "ab", "ab\n", "\r\n\n\n", "     \n", "\t \t"] {
            check(secret, &[]);
        }
    }
}
