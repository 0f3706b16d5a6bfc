//! All that is looked for, ready to be looked for.

use super::{
    automaton::Automaton,
    escape::{Escape, Read},
    line,
    plain::Pattern,
    sieve::{Form, Hint, Sieve, UNSEEN_MAX},
};
use std::sync::Arc;

/// Patterns, and what finds them.
#[derive(Default)]
pub(super) struct Matcher {
    /// Sorted, each once.
    patterns: Vec<Arc<Pattern>>,
    pub(super) automaton: Automaton,
    pub(super) sieve: Sieve,
}

impl Matcher {
    /// Takes in patterns, in any order.
    pub(super) fn of(mut patterns: Vec<Arc<Pattern>>) -> Self {
        // Of the same bytes, those first that are looked for in more forms.
        let key = |p: &Arc<Pattern>| !p.coded;
        patterns.sort_unstable_by(|a, b| {
            a.bytes.expose().cmp(b.bytes.expose()).then_with(|| key(a).cmp(&key(b)))
        });
        patterns.dedup_by(|a, b| a.bytes.expose() == b.bytes.expose());
        let (automaton, sieve) = (Automaton::of(&patterns), Sieve::of(&patterns));
        Self { patterns, automaton, sieve }
    }

    /// The patterns, sorted.
    pub(super) fn patterns(&self) -> &[Arc<Pattern>] {
        &self.patterns
    }

    /// Whether this is looked for already.
    pub(super) fn knows(&self, pattern: &Pattern) -> bool {
        let bytes = pattern.bytes.expose();
        let found = self.patterns.binary_search_by(|p| p.bytes.expose().cmp(bytes));
        found.is_ok_and(|at| self.patterns[at].coded >= pattern.coded)
    }
}

/// A part of a stream.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    /// Where it begins in the stream.
    pub(super) base: u64,
    /// Where begins what was not looked at yet.
    pub(super) new: u64,
    /// Whether nothing comes after it.
    pub(super) last: bool,
}

impl<'a> Input<'a> {
    pub(super) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// What there is from a place on.
    pub(super) fn from(&self, at: u64) -> &'a [u8] {
        &self.bytes[(at - self.base) as usize..]
    }

    /// What there is up to a place.
    pub(super) fn before(&self, at: u64) -> &'a [u8] {
        &self.bytes[..(at - self.base) as usize]
    }
}

/// Where something may begin, besides where the sieve says: before an escaped character, and before
/// a line break inside base64.
pub(super) fn hints(matcher: &Matcher, input: &Input<'_>, hints: &mut Vec<Hint>) {
    let from = input.new;
    let new = (from - input.base) as usize;
    matcher.sieve.find(input.bytes, new, input.base, hints);
    let new = &input.bytes[new..];
    for at in memchr::memchr3_iter(b'%', b'\\', b'&', new) {
        let is_plain = |e: &Escape| e.read(&new[at..]) == Read::Plain;
        let escapes = !Escape::ALL.iter().all(is_plain);
        let at = from + at as u64;
        if escapes {
            let start = at.saturating_sub(UNSEEN_MAX);
            hints.push(Hint { start, until: at + 1, form: Form::Text });
        }
        break_hints(input, at, at, hints);
    }
    for at in memchr::memchr_iter(b'\n', new).map(|at| from + at as u64) {
        let returns = input.before(at).last() == Some(&b'\r');
        break_hints(input, at - u64::from(returns), at, hints);
    }
}

/// Hints at what began in a line that ends at `end`, with a break that holds the byte at `at`.
fn break_hints(input: &Input<'_>, end: u64, at: u64, hints: &mut Vec<Hint>) {
    if line::is_full(input, end) {
        let (start, until) = (end.saturating_sub(UNSEEN_MAX), at + 1);
        hints.push(Hint { start, until, form: Form::Base64 });
        if input.before(end).last().is_some_and(u8::is_ascii_hexdigit) {
            hints.push(Hint { start, until, form: Form::Hex });
        }
    }
}
