//! The forms in which tools print a secret.

use super::SECRET_BYTES_MIN;
use crate::secret::Secret;
use base64::{Engine, engine::general_purpose as base64_kind};
use std::collections::BTreeSet;

/// The shortest line of a secret of several lines that is masked by itself.
const LINE_BYTES_MIN: usize = 4;
/// The shortest piece of base64 that is taken for a secret; shorter ones are in every text.
const BASE64_CHARS_MIN: usize = 6;

/// All forms of a secret, each once.
pub(super) fn forms(secret: &[u8]) -> Vec<Secret> {
    let mut all = BTreeSet::from([secret.to_vec()]);
    // Most secrets in files end with a line break that is no part of them.
    let trimmed = secret.trim_ascii();
    let mut wholes = vec![secret];
    if trimmed.len() != secret.len() && trimmed.len() >= SECRET_BYTES_MIN {
        wholes.push(trimmed);
        all.insert(trimmed.to_vec());
    }
    let lines = secret.split(|c| matches!(c, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    all.extend(lines.filter(|l| l.len() >= LINE_BYTES_MIN).map(<[u8]>::to_vec));
    for whole in wholes {
        all.extend(base64_forms(whole));
        for upper in [true, false] {
            for plus in [true, false] {
                all.insert(percent(whole, upper, plus));
            }
        }
        if let Ok(text) = std::str::from_utf8(whole) {
            let json = serde_json::to_string(text).unwrap_or_default();
            if let Some(inner) = json.strip_prefix('"').and_then(|j| j.strip_suffix('"')) {
                all.insert(inner.as_bytes().to_vec());
            }
            all.insert(text.replace('\'', r"'\''").into_bytes());
        }
    }
    all.retain(|form| form.len() >= SECRET_BYTES_MIN);
    all.into_iter().map(Secret::new).collect()
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

fn percent(secret: &[u8], upper: bool, plus: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(secret.len());
    for &c in secret {
        match c {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(c),
            b' ' if plus => out.push(b'+'),
            _ if upper => out.extend(format!("%{c:02X}").bytes()),
            _ => out.extend(format!("%{c:02x}").bytes()),
        }
    }
    out
}
