//! What the documentation says, written down without any cleverness.

use crate::redact::{
    MASK,
    coded::Code,
    escape::{Escape, Read},
    line,
    matcher::Input,
    plain::Pattern,
};

/// A byte that some of the text stands for: from where to where, without what it shares.
type Unit = (u8, usize, usize);

pub(super) fn redact(patterns: &[Pattern], input: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    let plain = input.iter().enumerate().map(|(at, &c)| (c, at, at + 1)).collect();
    let views = Escape::ALL.into_iter().map(|escape| unescaped(escape, input));
    for view in std::iter::once(plain).chain(views) {
        search(patterns, &view, &mut found);
    }
    for code in [Code::Base64, Code::Hex] {
        for view in decoded(code, input) {
            let coded: Vec<&Pattern> = patterns.iter().filter(|p| p.coded).collect();
            let before = found.len();
            search(coded, &view, &mut found);
            for (_, end) in &mut found[before..] {
                while code == Code::Base64 && input.get(*end) == Some(&b'=') {
                    *end += 1;
                }
            }
        }
    }
    found.sort_unstable();
    let (mut out, mut end) = (vec![], 0);
    for (start, stop) in found {
        if start >= end {
            out.extend_from_slice(&input[end..start]);
            out.extend_from_slice(MASK);
        }
        end = end.max(stop);
    }
    out.extend_from_slice(&input[end..]);
    out
}

fn search<'a>(
    patterns: impl IntoIterator<Item = &'a Pattern>,
    view: &[Unit],
    found: &mut Vec<(usize, usize)>,
) {
    for pattern in patterns {
        let bytes = pattern.bytes.expose();
        for units in view.windows(bytes.len()) {
            if units.iter().map(|u| u.0).eq(bytes.iter().copied()) {
                found.push((units[0].1, units[units.len() - 1].2));
            }
        }
    }
}

fn unescaped(escape: Escape, input: &[u8]) -> Vec<Unit> {
    let (mut view, mut at) = (Vec::new(), 0);
    while at < input.len() {
        match escape.read(&input[at..]) {
            Read::Escaped { len, bytes, count } => {
                view.extend(bytes[..count].iter().map(|&c| (c, at, at + len)));
                at += len;
            }
            Read::Plain | Read::More => {
                view.push((input[at], at, at + 1));
                at += 1;
            }
        }
    }
    view
}

/// All readings of all runs of characters.
fn decoded(code: Code, bytes: &[u8]) -> Vec<Vec<Unit>> {
    let input = Input { bytes, base: 0, new: 0, last: true };
    let (mut views, mut chars, mut at) = (Vec::new(), Vec::new(), 0);
    while at <= bytes.len() {
        if let Some(value) = bytes.get(at).and_then(|c| code.value(*c)) {
            chars.push((at, value));
            at += 1;
            continue;
        }
        if !chars.is_empty()
            && at < bytes.len()
            && let line::Break::Bytes(bytes) = line::read(&input, at as u64)
        {
            at += bytes;
            continue;
        }
        for shift in 0..code.chars() as usize {
            let mut view = Vec::new();
            for i in 1..chars.len() {
                let place = (i + code.chars() as usize - shift) % code.chars() as usize;
                if place > 0 {
                    let own = chars[if place == 1 { i - 1 } else { i }].0;
                    let byte = code.byte(chars[i - 1].1, chars[i].1, place as u64);
                    view.push((byte, own, chars[i].0 + 1));
                }
            }
            views.push(view);
        }
        chars.clear();
        at += 1;
    }
    views
}
