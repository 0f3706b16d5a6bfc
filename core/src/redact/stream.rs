use super::{
    Redactor,
    coded::{Code, Coded},
    matcher::{self, Input, Matcher},
    sieve::{Form, Hint},
    spans::Spans,
    text::Text,
};
use std::{borrow::Cow, fmt, sync::Arc};
use zeroize::Zeroizing;

/// How much is looked at at once.
const BLOCK_BYTES: usize = 16 << 10;
/// How much is remembered of what was given out: as much as tells whether a line may be broken.
const CONTEXT_BYTES: u64 = 96;

/// Redacts one stream of bytes. It holds back only what may be the beginning of a secret, in any of
/// its forms, or of an escaped character.
pub struct RedactStream {
    redactor: Redactor,
    matcher: Arc<Matcher>,
    /// What was held back, after some of what was given out before.
    bytes: Zeroizing<Vec<u8>>,
    /// Where `bytes` begins in the stream.
    base: u64,
    /// How much of the stream was given out.
    given: u64,
    text: Text,
    base64: Coded,
    hex: Coded,
    spans: Spans,
    hints: Vec<Hint>,
}

impl RedactStream {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self {
            matcher: redactor.matcher(),
            redactor,
            bytes: Zeroizing::default(),
            base: 0,
            given: 0,
            text: Text::default(),
            base64: Coded::new(Code::Base64),
            hex: Coded::new(Code::Hex),
            spans: Spans::default(),
            hints: Vec::new(),
        }
    }

    /// Takes in a piece and gives out what is certain by now.
    pub fn push<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        self.renew();
        let begin = self.end();
        // As long as what is given out is the piece itself, there is nothing to copy.
        let mut out = (self.given < begin).then(Vec::new);
        for block in piece.chunks(BLOCK_BYTES) {
            let new = self.end();
            self.bytes.extend_from_slice(block);
            let safe = self.look(new);
            let from = self.given;
            debug_assert!(safe >= from, "what was given out is certain");
            let safe = safe.max(from);
            if out.is_none() && !self.spans.is_clear(from, safe) {
                out = Some(piece[..(from - begin) as usize].to_vec());
            }
            if let Some(out) = &mut out {
                self.give(safe, out);
            }
            self.given = safe;
            self.forget();
        }
        match out {
            Some(out) => Cow::Owned(out),
            None => Cow::Borrowed(&piece[..(self.given - begin) as usize]),
        }
    }

    /// Gives out the rest: no more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        self.renew();
        let end = self.end();
        let input = Input { bytes: &self.bytes, base: self.base, new: end, last: true };
        self.text.finish(&self.matcher, &input, &mut self.spans);
        let mut out = Vec::new();
        self.give(end, &mut out);
        *self = Self::new(self.redactor.clone());
        out
    }

    /// Where what was taken in ends.
    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Takes in new secrets, which may have begun in what is held back.
    fn renew(&mut self) {
        let matcher = self.redactor.matcher();
        if Arc::ptr_eq(&matcher, &self.matcher) {
            return;
        }
        self.matcher = matcher;
        self.text.restart(self.given);
        self.base64.restart(self.given.saturating_sub(1).max(self.base));
        self.hex.restart(self.given);
        self.follow(self.end());
    }

    /// Goes on with what is under way.
    fn follow(&mut self, new: u64) {
        let Self { matcher, spans, text, base64, hex, .. } = self;
        let input = Input { bytes: &self.bytes, base: self.base, new, last: false };
        text.go_on(matcher, &input, new, spans);
        base64.go_on(matcher, &input, new, spans);
        hex.go_on(matcher, &input, new, spans);
    }

    /// Looks at what came from `new` on. Returns where begins what is not certain yet.
    fn look(&mut self, new: u64) -> u64 {
        self.follow(new);
        let Self { matcher, spans, hints, text, base64, hex, .. } = self;
        let input = Input { bytes: &self.bytes, base: self.base, new, last: false };
        hints.clear();
        matcher::hints(matcher, &input, hints);
        let end = input.end();
        hints.push(Hint { start: text.tail(&input), until: end, form: Form::Text });
        for (coded, form) in [(&*base64, Form::Base64), (&*hex, Form::Hex)] {
            hints.extend(coded.tail(&input).map(|start| Hint { start, until: end, form }));
        }
        // What begins earlier comes first: then what is read on for it holds the others.
        hints.sort_unstable();
        for Hint { start, until, form } in hints.drain(..) {
            match form {
                Form::Text => text.look(matcher, &input, (start, until), spans),
                Form::Base64 => base64.look(matcher, &input, (start, until), spans),
                Form::Hex => hex.look(matcher, &input, (start, until), spans),
            }
        }
        base64.end(&input);
        hex.end(&input);
        let held = [base64.held(matcher), hex.held(matcher)];
        held.into_iter().flatten().fold(text.held(matcher), u64::min)
    }

    fn give(&mut self, safe: u64, out: &mut Vec<u8>) {
        let range = (self.given - self.base) as usize..(safe - self.base) as usize;
        self.spans.give(&self.bytes[range], self.given, out);
    }

    /// How much is kept in memory.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what was given out, once it is as much as the rest: so it costs little for each byte.
    fn forget(&mut self) {
        let count = self.given.saturating_sub(self.base + CONTEXT_BYTES) as usize;
        if count > self.bytes.len() / 2 {
            self.bytes.drain(..count);
            self.base += count as u64;
        }
    }
}

impl fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedactStream({} bytes held)", self.end() - self.given)
    }
}
