//! The redactor against what its documentation says, for every way to cut the input.
//!
//! Over the alphabet `a`, `b` a secret has no other form that could occur in the text, so there the
//! output is compared with that of a search without any cleverness; over all bytes, the invariants
//! are checked.
#![no_main]

use kiln::{
    Secret,
    redact::{MASK, Redactor, SECRET_BYTES_MIN},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte counts the secrets and chooses the alphabet, then come the secrets, each after
    // its length, then one byte that chooses the cuts; the rest is the text.
    let mut data = Bytes(data);
    let (kind, mut secrets) = (data.next(), Vec::new());
    for _ in 0..kind % 7 {
        let length = usize::from(data.next() % 40);
        secrets.push(data.take(length).to_vec());
    }
    let (cuts, mut text) = (data.next(), data.0.to_vec());
    let two_letters = kind >= 128;
    if two_letters {
        let fold = |bytes: &mut Vec<u8>| bytes.iter_mut().for_each(|c| *c = b'a' + (*c & 1));
        secrets.iter_mut().for_each(fold);
        fold(&mut text);
    }
    let redactor = Redactor::new();
    secrets.retain(|s| redactor.add(&Secret::new(s.as_slice())));
    let (whole, one) = (in_pieces(&redactor, &text, 0), in_pieces(&redactor, &text, 1));
    assert_eq!(whole, one, "byte by byte");
    assert_eq!(whole, in_pieces(&redactor, &text, usize::from(cuts)), "in pieces");
    if two_letters {
        assert_eq!(whole, naive(&secrets, &text), "{:?}", String::from_utf8_lossy(&text));
    }
    for secret in secrets.iter().filter(|s| !s.contains(&b'*')) {
        assert!(!whole.windows(secret.len()).any(|w| w == secret), "a secret shows");
    }
});

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
