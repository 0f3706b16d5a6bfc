//! Follows the text as it is, and as it is without its escapes.

use super::{
    automaton::ROOT,
    escape::{Escape, Read},
    matcher::{Input, Matcher},
    sieve::UNSEEN_MAX,
    spans::Spans,
    units::Units,
};

/// Where no more bytes than these are under way, the sieve may take over: it has not read a gram of
/// them.
const SHALLOW: u64 = 2;

/// Follows the text.
#[derive(Default)]
pub(super) struct Text {
    /// How far it was read.
    at: u64,
    /// What is under way begins here or later; what began before is known.
    resume: u64,
    state: u32,
    views: [View; Escape::ALL.len()],
}

/// Follows the text with one kind of escapes undone. It is at work only while something is under
/// way that has an escaped character in it: before that, the text is the same as it is.
#[derive(Default)]
struct View {
    active: bool,
    at: u64,
    /// Where the last escaped character ends.
    escape_end: u64,
    state: u32,
    units: Units,
}

impl Text {
    /// Where what is under way begins.
    pub(super) fn held(&self, matcher: &Matcher) -> u64 {
        let views = self.views.iter().filter(|v| v.active);
        let views = views.map(|v| v.start(v.units.count() - matcher.automaton.depth(v.state)));
        views.fold(self.at - matcher.automaton.depth(self.state), u64::min)
    }

    /// Begins anew at a place, for a new matcher.
    pub(super) fn restart(&mut self, at: u64) {
        (self.at, self.resume, self.state) = (at, at, ROOT);
        for view in &mut self.views {
            view.active = false;
        }
    }

    /// Looks at what begins from `start` on. What is under way at `until` is read on to its end.
    pub(super) fn look(
        &mut self,
        matcher: &Matcher,
        input: &Input<'_>,
        (start, until): (u64, u64),
        spans: &mut Spans,
    ) {
        if until > self.at {
            (self.at, self.state) = (start.max(self.resume).max(input.base), ROOT);
            self.go_on(matcher, input, until, spans);
        }
    }

    /// Where to look at the end, where the sieve cannot tell yet.
    pub(super) fn tail(&self, input: &Input<'_>) -> u64 {
        input.end().saturating_sub(UNSEEN_MAX)
    }

    /// Takes what may have gone on as it is: nothing comes after it.
    pub(super) fn finish(&mut self, matcher: &Matcher, input: &Input<'_>, spans: &mut Spans) {
        for (view, escape) in self.views.iter_mut().zip(Escape::ALL) {
            view.read_up_to(matcher, input, escape, input.end(), spans);
        }
    }

    /// Reads on, at least up to `until` and as long as something is under way.
    pub(super) fn go_on(
        &mut self,
        matcher: &Matcher,
        input: &Input<'_>,
        until: u64,
        spans: &mut Spans,
    ) {
        let automaton = &matcher.automaton;
        let mut viewing = self.views.iter().any(|v| v.active);
        for &c in input.from(self.at) {
            if self.at >= until && !viewing {
                let depth = automaton.depth(self.state);
                if depth <= SHALLOW && self.at - depth >= input.new {
                    break;
                }
            }
            if viewing || matches!(c, b'%' | b'\\' | b'&') {
                viewing = self.view(matcher, input, c, spans);
            }
            self.state = automaton.step(self.state, c);
            self.at += 1;
            let ends = automaton.ends(self.state);
            if ends > 0 {
                spans.add(self.at - ends, self.at);
            }
        }
        self.resume = self.at - automaton.depth(self.state);
    }

    /// Lets the views read the byte that is next. Says whether any is at work.
    fn view(&mut self, matcher: &Matcher, input: &Input<'_>, c: u8, spans: &mut Spans) -> bool {
        let mut viewing = false;
        for (view, escape) in self.views.iter_mut().zip(Escape::ALL) {
            let begins = |escape: Escape| {
                c == escape.mark()
                    && !matches!(
                        (escape.read(input.from(self.at)), input.last),
                        (Read::Plain, _) | (Read::More, true)
                    )
            };
            view.read_up_to(matcher, input, escape, self.at, spans);
            if !view.active && self.at >= view.escape_end && begins(escape) {
                view.begin(matcher, input, self.at, self.state);
            }
            view.read_up_to(matcher, input, escape, self.at + 1, spans);
            viewing |= view.active;
        }
        viewing
    }
}

impl View {
    /// Begins before an escaped character, with what is under way in the text.
    fn begin(&mut self, matcher: &Matcher, input: &Input<'_>, at: u64, mut state: u32) {
        let automaton = &matcher.automaton;
        if automaton.depth(state) > at - self.escape_end {
            // There the text as it is goes further back than the escaped character before.
            let since =
                &input.before(at)[(self.escape_end.max(input.base) - input.base) as usize..];
            state = since.iter().fold(ROOT, |state, &c| automaton.step(state, c));
        }
        (self.active, self.at, self.state) = (true, at, state);
        self.units.reset(automaton.depth(state), at);
    }

    fn read_up_to(
        &mut self,
        matcher: &Matcher,
        input: &Input<'_>,
        escape: Escape,
        until: u64,
        spans: &mut Spans,
    ) {
        while self.active && self.at < until {
            let text = input.from(self.at);
            match escape.read(text) {
                Read::More if !input.last => return,
                Read::More | Read::Plain => self.feed(matcher, &text[..1], 1, spans),
                Read::Escaped { len, bytes, count } => {
                    self.feed(matcher, &bytes[..count], len as u64, spans);
                    self.escape_end = self.at;
                }
            }
            // Once nothing under way has an escaped character in it, the text is the same as it is.
            let depth = matcher.automaton.depth(self.state);
            self.active = depth > self.at - self.escape_end || self.at < until;
        }
    }

    /// Takes in a character of `len` bytes.
    fn feed(&mut self, matcher: &Matcher, bytes: &[u8], len: u64, spans: &mut Spans) {
        let automaton = &matcher.automaton;
        let end = self.at + len;
        for &c in bytes {
            self.units.push(self.at, len);
            self.state = automaton.step(self.state, c);
            let ends = automaton.ends(self.state);
            if ends > 0 {
                spans.add(self.units.start(self.units.count() - ends), end);
            }
            self.units.forget(self.units.count() - automaton.depth(self.state));
        }
        self.at = end;
    }

    /// Where a unit begins that may be the next one.
    fn start(&self, unit: u64) -> u64 {
        if unit == self.units.count() { self.at } else { self.units.start(unit) }
    }
}
