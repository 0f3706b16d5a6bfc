//! Takes secrets out of output, however the output is cut into pieces.
//!
//! For every way to split a stream, the redacted bytes are the same. Every occurrence of a secret
//! is replaced by [`MASK`]; occurrences that overlap are one, so that of a secret that is the
//! beginning of another no end shows. A secret is also found in the forms that tools print it in:
//! line by line (lines of at least four bytes), in base64 (standard and URL-safe, at every
//! alignment, wrapped into lines), percent-encoded, escaped for JSON and quoted for a shell.
//!
//! What cannot be the beginning of a secret is given out at once, so that a prompt without a line
//! break shows; no timer and no flush is needed.

mod forms;
mod matcher;

use crate::secret::Secret;
use matcher::Matcher;
use std::{
    borrow::Cow,
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
    more: Vec<Arc<Secret>>,
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

    /// Redacts a secret from now on. Says whether it can: one that is shorter than
    /// [`SECRET_BYTES_MIN`] is not.
    pub fn add(&self, secret: &Secret) -> bool {
        if secret.expose().len() < SECRET_BYTES_MIN {
            return false;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let forms = forms::forms(secret.expose()).into_iter();
        let new = forms.filter(|form| !known.matcher.knows(form.expose())).map(Arc::new);
        let new: Vec<_> = new.collect();
        known.more.extend(new);
        true
    }

    /// Starts redacting a stream.
    pub fn stream(&self) -> RedactStream {
        RedactStream { redactor: self.clone(), held: Vec::new(), open: 0 }
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

/// Redacts one stream of bytes. It holds back only what may be the beginning of a secret: at most
/// one byte less than the longest form of one.
pub struct RedactStream {
    redactor: Redactor,
    /// What may be the beginning of a secret.
    held: Vec<u8>,
    /// How many bytes of `held` belong to an occurrence whose mask was given out already.
    open: usize,
}

impl RedactStream {
    /// Takes in a piece and gives out what is certain by now.
    pub fn push<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let matcher = self.redactor.matcher();
        if self.held.is_empty() {
            let mut found = Vec::new();
            matcher.find(piece, &mut found);
            let safe = matcher.safe(piece);
            if found.is_empty() && safe == piece.len() {
                return Cow::Borrowed(piece);
            }
            let mut out = Vec::with_capacity(piece.len());
            let open = give(piece, safe, 0, &mut found, &mut out);
            (self.held, self.open) = (piece[safe..].to_vec(), open);
            return Cow::Owned(out);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(piece);
        let safe = matcher.safe(&all);
        Cow::Owned(self.advance(&matcher, all, safe))
    }

    /// Gives out the rest: no more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        let all = std::mem::take(&mut self.held);
        let safe = all.len();
        self.advance(&self.redactor.matcher(), all, safe)
    }

    fn advance(&mut self, matcher: &Matcher, mut all: Vec<u8>, safe: usize) -> Vec<u8> {
        let mut found = Vec::new();
        matcher.find(&all, &mut found);
        let mut out = Vec::with_capacity(safe);
        self.open = give(&all, safe, self.open, &mut found, &mut out);
        all.drain(..safe);
        self.held = all;
        out
    }
}

impl fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedactStream({} bytes held)", self.held.len())
    }
}

/// Gives out the first `safe` bytes with every occurrence masked. The first `open` bytes belong to
/// an occurrence that was masked before. Returns how many bytes after `safe` do so now.
fn give(
    all: &[u8],
    safe: usize,
    open: usize,
    found: &mut [(usize, usize)],
    out: &mut Vec<u8>,
) -> usize {
    found.sort_unstable();
    let (mut from, mut end) = (0, open);
    for &(start, stop) in found.iter() {
        if start >= safe {
            break;
        }
        // What overlaps the occurrence before is one with it.
        if start >= end {
            from = from.max(end);
            out.extend_from_slice(&all[from..start]);
            out.extend_from_slice(MASK);
        }
        end = end.max(stop);
    }
    from = from.max(end);
    if from < safe {
        out.extend_from_slice(&all[from..safe]);
    }
    end.saturating_sub(safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        secrets.iter().for_each(|s| assert!(redactor.add(&Secret::new(*s))));
        redactor
    }

    fn in_pieces(redactor: &Redactor, input: &[u8], sizes: &[usize]) -> Vec<u8> {
        let (mut stream, mut out, mut rest) = (redactor.stream(), Vec::new(), input);
        for size in sizes.iter().cycle().map(|s| s % 9) {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.clamp(1, rest.len()));
            out.extend_from_slice(&stream.push(piece));
            rest = after;
        }
        out.extend(stream.finish());
        out
    }

    /// What the documentation says, written down without any cleverness.
    fn naive(secrets: &[&str], input: &[u8]) -> Vec<u8> {
        let mut found = vec![];
        for pattern in secrets.iter().flat_map(|s| forms::forms(s.as_bytes())) {
            for at in 0..input.len() {
                if input[at..].starts_with(pattern.expose()) {
                    found.push((at, at + pattern.expose().len()));
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

    #[track_caller]
    fn check(secrets: &[&str], input: &str, expected: &str) {
        let redactor = redactor(secrets);
        assert_eq!(redactor.redact_text(input), expected);
        for size in 1..9 {
            let out = in_pieces(&redactor, input.as_bytes(), &[size]);
            assert_eq!(String::from_utf8_lossy(&out), expected, "pieces of {size}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_are_cut() {
        check(&["hunter2"], "a hunter2 b hunter", "a *** b hunter");
        check(&["hunter2"], "hunter2hunter2", "******");
        check(&["abc", "abcdef"], "abcdeX abcdef", "***deX ***");
        check(&["abcd", "cdef"], "abcdef", "***");
        check(&["aaa"], "aaaaaaaaaa b aa", "*** b aa");
        check(&["one\ntwo four"], "one\ntwo four, two four", "***, ***");
    }

    #[test]
    fn secrets_are_masked_in_the_forms_that_tools_print() {
        check(&["p@ss w/rd"], "p%40ss%20w%2Frd p%40ss+w%2frd", "*** ***");
        check(&["say \"hi\"\\"], r#"{"a":"say \"hi\"\\"}"#, r#"{"a":"***"}"#);
        check(&["it's me"], r"'it'\''s me'", "'***'");
        check(&["it's me"], r#"'it'"'"'s me' it\'s\ me"#, "'***' ***");
        check(&["<ü&/"], r#""\u003cü\u0026/" "<\u00fc&/" "<ü&\/""#, r#""***" "***" "***""#);
        check(&["a/b@c!"], "a/b%40c%21 a%2fb%40c! git://u:a%2Fb%40c!@h", "*** *** git://u:***@h");
        // printf user:correct-horse | base64
        check(&["correct-horse"], "dXNlcjpjb3JyZWN0LWhvcnNl", "dXNlcjp***");
        check(&["correct-horse"], "Y29ycmVjdC1ob3JzZQ==", "***==");
    }

    #[test]
    fn a_long_secret_is_masked_in_wrapped_base64() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let secret = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQ\n";
        for width in [64, 76] {
            let text = STANDARD.encode(secret);
            let lines: Vec<_> =
                text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
            let expected = format!("{}{}", "***\n***", if text.ends_with('=') { "=" } else { "" });
            check(&[secret], &lines.join("\n"), &expected);
        }
    }

    #[test]
    fn a_secret_may_come_while_a_stream_runs() {
        let redactor = redactor(&["hunter2"]);
        let mut stream = redactor.stream();
        assert_eq!(&*stream.push(b"tok"), b"tok");
        assert_eq!(&*stream.push(b" hun"), b" ");
        assert!(redactor.clone().add(&Secret::new("hunger")));
        assert_eq!(&*stream.push(b"ger hunter2"), b"*** ***");
        assert_eq!(stream.finish(), b"");
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(!Redactor::new().add(&Secret::new("ab")));
    }

    #[test]
    fn what_cannot_be_a_secret_is_given_out_at_once() {
        let redactor = redactor(&["hunter2"]);
        let mut stream = redactor.stream();
        assert_eq!(&*stream.push(b"password: "), b"password: ");
        assert_eq!(&*stream.push(b"hunt"), b"");
        assert_eq!(&*stream.push(b"ing"), b"hunting");
        assert!(format!("{redactor:?} {stream:?}").find("hunter2").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_pieces_never_show(
            secrets in proptest::collection::vec("[ab]{3,7}|[a\n%+/ ]{3,9}", 1..5),
            input in "[ab\n%+/ ]{0,60}",
            sizes in proptest::collection::vec(1usize..9, 1..8),
        ) {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let redactor = redactor(&secrets);
            let expected = naive(&secrets, input.as_bytes());
            let forms = secrets.iter().flat_map(|s| forms::forms(s.as_bytes()));
            let longest = forms.map(|f| f.expose().len()).max().unwrap_or(0);
            let mut stream = redactor.stream();
            for piece in input.as_bytes().chunks(5) {
                stream.push(piece);
                prop_assert!(stream.held.len() < longest);
            }
            let out = in_pieces(&redactor, input.as_bytes(), &sizes);
            prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
        }
    }
}
