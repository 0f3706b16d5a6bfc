//! The forms in which tools print a secret.

use super::SECRET_BYTES_MIN;
use crate::secret::Secret;
use base64::{Engine, engine::general_purpose as base64_kind};
use std::collections::BTreeSet;

/// The shortest line of a secret of several lines that is masked by itself.
const LINE_BYTES_MIN: usize = 4;
/// The shortest piece of base64 that is taken for a secret; shorter ones are in every text.
const BASE64_CHARS_MIN: usize = 6;
/// How many bytes stand in a line of base64: of 76 characters (MIME, `base64`), of 64 (PEM).
const BASE64_LINE_BYTES: [usize; 2] = [57, 48];
/// What is not percent-encoded besides letters and digits: by RFC 3986, by browsers, by Python, by
/// forms, in the user part of a URL.
const URL_SAFE: [&[u8]; 5] = [b"-_.~", b"-_.~!'()*", b"-_.~/", b"-_.*", b"-_.~!$&'()*+,"];
/// What `printf %q` puts a backslash before.
const SHELL_SPECIAL: &[u8] = b" !\"#$&'()*,;<>?[\\]^`{|}~";

/// All forms of a secret, each once.
pub(super) fn forms(secret: &[u8]) -> Vec<Secret> {
    let mut all = BTreeSet::from([secret.to_vec()]);
    let lines = secret.split(|c| matches!(c, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    all.extend(lines.filter(|l| l.len() >= LINE_BYTES_MIN).map(<[u8]>::to_vec));
    add_encoded(secret, &mut all);
    // Most secrets in files end with a line break that is no part of them.
    let trimmed = secret.trim_ascii();
    if trimmed.len() != secret.len() && trimmed.len() >= SECRET_BYTES_MIN {
        all.insert(trimmed.to_vec());
        add_encoded(trimmed, &mut all);
    }
    all.retain(|form| form.len() >= SECRET_BYTES_MIN);
    all.into_iter().map(Secret::new).collect()
}

fn add_encoded(secret: &[u8], all: &mut BTreeSet<Vec<u8>>) {
    all.extend(base64_forms(secret));
    all.extend(base64_lines(secret));
    for safe in URL_SAFE {
        for (upper, plus) in [(true, true), (true, false), (false, true), (false, false)] {
            all.insert(percent(secret, safe, upper, plus));
        }
    }
    all.insert(backslashed(secret));
    let Ok(text) = std::str::from_utf8(secret) else { return };
    all.extend(json_forms(text));
    for quote in [r"'\''", r#"'"'"'"#] {
        all.insert(text.replace('\'', quote).into_bytes());
    }
}

/// What stays the same of a secret's base64, whatever comes before and after it.
fn base64_forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret);
        let whole = bytes.len() * 8 / 6;
        // Characters that hold a bit of what comes before are not ours.
        let skip = (before * 8).div_ceil(6);
        for text in [
            base64_kind::STANDARD_NO_PAD.encode(&bytes),
            base64_kind::URL_SAFE_NO_PAD.encode(&bytes),
        ] {
            let stable = &text.as_bytes()[skip.min(whole)..whole];
            if stable.len() >= BASE64_CHARS_MIN {
                forms.push(stable.to_vec());
            }
            // At the end of the text the last character is known too.
            let full = &text.as_bytes()[skip.min(text.len())..];
            if full.len() >= BASE64_CHARS_MIN {
                forms.push(full.to_vec());
            }
        }
    }
    forms
}

/// The lines of a long secret's base64 when nothing comes before it.
fn base64_lines(secret: &[u8]) -> Vec<Vec<u8>> {
    let widths = BASE64_LINE_BYTES.into_iter().filter(|&width| secret.len() > width);
    widths
        .flat_map(|width| secret.chunks(width))
        .map(|line| base64_kind::STANDARD_NO_PAD.encode(line).into_bytes())
        .filter(|line| line.len() >= BASE64_CHARS_MIN)
        .collect()
}

/// The inside of a JSON string, as most writers have it, as Go and browsers do (safe in HTML), and
/// as Python does (ASCII only).
fn json_forms(text: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let Some(plain) = json.strip_prefix('"').and_then(|j| j.strip_suffix('"')) else {
        return Vec::new();
    };
    let unicode = |text: &str, escaped: fn(char) -> bool| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if escaped(c) {
                let mut units = [0; 2];
                c.encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            } else {
                out.push(c);
            }
        }
        out
    };
    let html = unicode(plain, |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'));
    let ascii = unicode(plain, |c| !c.is_ascii() || c == '\x7f');
    [plain.to_owned(), plain.replace('/', r"\/"), html, ascii].map(String::into_bytes).into()
}

fn percent(secret: &[u8], safe: &[u8], upper: bool, plus: bool) -> Vec<u8> {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut out = Vec::with_capacity(secret.len());
    for &c in secret {
        if c.is_ascii_alphanumeric() || safe.contains(&c) {
            out.push(c);
        } else if plus && c == b' ' {
            out.push(b'+');
        } else {
            out.extend([b'%', digits[usize::from(c >> 4)], digits[usize::from(c & 15)]]);
        }
    }
    out
}

fn backslashed(secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(secret.len());
    for &c in secret {
        if SHELL_SPECIAL.contains(&c) {
            out.push(b'\\');
        }
        out.push(c);
    }
    out
}
