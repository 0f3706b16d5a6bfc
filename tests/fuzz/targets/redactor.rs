//! The redactor against what its documentation says, for every way to cut the input.
//!
//! Over the alphabet `a`, `b` a secret has no other form that could occur in the text, so there the
//! output is compared with that of a search without any cleverness; over all bytes, and over texts
//! made of the secrets in their forms, the invariants are checked: the cuts do not show, and no
//! form of a secret is left.
#![no_main]

use kiln::{
    Secret,
    redact::{MASK, Redactor, SECRET_BYTES_MIN},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte counts the secrets and chooses the kind of text, then come the secrets, each
    // after its length, then one byte that chooses the cuts; the rest is the text.
    let mut data = Bytes(data);
    let (kind, mut secrets) = (data.next(), Vec::new());
    for _ in 0..kind % 7 {
        let length = usize::from(data.next() % 40);
        secrets.push(data.take(length).to_vec());
    }
    let cuts = data.next();
    let redactor = Redactor::new();
    match kind / 64 {
        0 | 1 => {
            secrets.retain(|s| redactor.add(&Secret::new(s.as_slice())));
            let mut text = data.0.to_vec();
            if kind & 64 != 0 {
                text = forms(&secrets, data);
            }
            let out = the_same_for_all_cuts(&redactor, &text, cuts);
            for secret in secrets.iter().map(|s| trim_breaks(s)).filter(|s| !s.contains(&b'*')) {
                assert!(!holds(&out, secret), "a secret shows");
            }
        }
        2 => {
            let mut text = data.0.to_vec();
            let fold = |bytes: &mut Vec<u8>| bytes.iter_mut().for_each(|c| *c = b'a' + (*c & 1));
            secrets.iter_mut().for_each(fold);
            fold(&mut text);
            secrets.retain(|s| redactor.add(&Secret::new(s.as_slice())));
            let out = the_same_for_all_cuts(&redactor, &text, cuts);
            assert_eq!(out, naive(&secrets, &text), "{:?}", String::from_utf8_lossy(&text));
        }
        _ => no_form_is_left(&redactor, &secrets, cuts, data),
    }
});

/// Each secret alone on a line, in a form, between any bytes.
fn no_form_is_left(redactor: &Redactor, secrets: &[Vec<u8>], cuts: u8, mut data: Bytes<'_>) {
    // Nothing that the forms or the masks themselves are made of.
    let plain =
        |s: &&Vec<u8>| s.len() > 4 && s.iter().all(|c| (b'g'..=b'z').contains(c) || *c == b'&');
    let Some(secret) = secrets.iter().find(plain) else { return };
    assert!(redactor.add(&Secret::new(secret.as_slice())));
    let form = data.next();
    let length = usize::from(data.next() % 100);
    let (before, after) = (data.take(length), data.0);
    let text = in_form(form, &[before, b"\n", secret, b"\n", after].concat());
    let out = the_same_for_all_cuts(redactor, &text, cuts);
    let bare = in_form(form, secret);
    assert!(!holds(&out, &bare) || bare.contains(&b'='), "a form of a secret shows");
    assert!(holds(&out, MASK), "{:?}", String::from_utf8_lossy(&text));
}

/// Secrets in forms and parts of them, with what is between them.
fn forms(secrets: &[Vec<u8>], mut data: Bytes<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    while !secrets.is_empty() && !data.0.is_empty() && text.len() < 4096 {
        let (which, form, extra) = (data.next(), data.next(), data.next());
        let before = data.take(usize::from(extra % 64));
        let secret = &secrets[usize::from(which) % secrets.len()];
        let part = in_form(form, &[before, secret].concat());
        let end = if which >= 128 { part.len() * usize::from(extra >> 6) / 3 } else { part.len() };
        text.extend_from_slice(&part[..end]);
        text.extend_from_slice(data.take(usize::from(form >> 6)));
    }
    text
}

fn in_form(form: u8, bytes: &[u8]) -> Vec<u8> {
    let each = |f: &dyn Fn(u8) -> String| bytes.iter().map(|c| f(*c)).collect::<String>();
    let special = |c: u8| !c.is_ascii_alphanumeric();
    let base64 = |marks: &[u8; 2]| {
        let value = |v: u32| match v & 63 {
            v @ 0..26 => b'A' + v as u8,
            v @ 26..52 => b'a' + v as u8 - 26,
            v @ 52..62 => b'0' + v as u8 - 52,
            v => marks[v as usize - 62],
        };
        let group = |g: &[u8]| {
            let number = (0..3).fold(0, |n, i| n << 8 | u32::from(*g.get(i).unwrap_or(&0)));
            let chars = [18, 12, 6, 0].map(|shift| value(number >> shift));
            chars.into_iter().take(g.len() + 1).collect::<Vec<_>>()
        };
        bytes.chunks(3).flat_map(group).collect::<Vec<_>>()
    };
    match form % 16 {
        0 => bytes.to_vec(),
        1 => each(&|c| format!("%{c:02X}")).into_bytes(),
        2 => escaped(bytes, special, |c| format!("%{c:02x}")),
        3 => each(&|c| format!("\\x{c:02x}")).into_bytes(),
        4 => escaped(bytes, special, |c| format!("\\{c:03o}")),
        5 => escaped(bytes, |c| c < 128, |c| format!("\\u{c:04x}")),
        6 => escaped(bytes, |c| c < 128 && special(c), |c| format!("\\\\u{{{c:x}}}")),
        7 => escaped(bytes, |c| c < 128, |c| format!("&#{c};")),
        8 => escaped(bytes, |c| c == b'&', |_| "&amp;".into()),
        9 => each(&|c| format!("{c:02x}")).into_bytes(),
        10 => wrapped(each(&|c| format!("{c:02X}")).as_bytes(), 60, b"\n"),
        11 => base64(b"+/"),
        12 => base64(b"-_"),
        13 => wrapped(&base64(b"+/"), 76, b"\n"),
        14 => wrapped(&base64(b"+/"), 64, b"\r\n  "),
        _ => wrapped(&base64(b"-_"), 32, b"\\n"),
    }
}

fn escaped(bytes: &[u8], which: impl Fn(u8) -> bool, f: impl Fn(u8) -> String) -> Vec<u8> {
    let each = |&c: &u8| if which(c) { f(c).into_bytes() } else { vec![c] };
    bytes.iter().flat_map(each).collect()
}

fn wrapped(text: &[u8], width: usize, by: &[u8]) -> Vec<u8> {
    text.chunks(width).collect::<Vec<_>>().join(by)
}

fn trim_breaks(mut bytes: &[u8]) -> &[u8] {
    while let [b'\n' | b'\r', rest @ ..] | [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|w| w == part)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }
}

/// What the redactor makes of a text, however that is cut.
fn the_same_for_all_cuts(redactor: &Redactor, text: &[u8], cuts: u8) -> Vec<u8> {
    let (whole, one) = (in_pieces(redactor, text, 0), in_pieces(redactor, text, 1));
    assert_eq!(whole, one, "byte by byte");
    assert_eq!(whole, in_pieces(redactor, text, usize::from(cuts)), "in pieces");
    whole
}

/// Redacts pieces of about this size, in one if it is 0.
fn in_pieces(redactor: &Redactor, text: &[u8], size: usize) -> Vec<u8> {
    let (mut stream, mut out, mut rest, mut i) = (redactor.stream(), Vec::new(), text, 0);
    while !rest.is_empty() {
        let size = if size == 0 { rest.len() } else { 1 + (size + i * 7) % size };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        out.extend_from_slice(&stream.push(piece));
        (rest, i) = (after, i + 1);
    }
    out.extend(stream.finish());
    out
}

/// Masks the union of all occurrences, one mask for those that overlap.
fn naive(secrets: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let (mut out, mut end) = (Vec::new(), 0);
    for at in 0..text.len() {
        let found = secrets.iter().filter(|s| s.len() >= SECRET_BYTES_MIN);
        let found = found.filter(|s| text[at..].starts_with(s)).map(|s| at + s.len()).max();
        if let Some(stop) = found {
            if at >= end {
                out.extend_from_slice(MASK);
            }
            end = end.max(stop);
        }
        if at >= end {
            out.push(text[at]);
        }
    }
    out
}
