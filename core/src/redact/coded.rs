//! Follows what base64 and hexadecimal digits stand for, wherever in a byte they begin.

use super::{
    automaton::ROOT,
    line,
    matcher::{Input, Matcher},
    sieve::UNSEEN_MAX,
    spans::Spans,
    units::Units,
};

/// Where no more characters than these are under way, the sieve may take over: it has not read a
/// gram of them.
const SHALLOW: u64 = 2;
/// How many characters after a line break the sieve cannot tell what began before it.
const STEADY_CHARS: u64 = UNSEEN_MAX + 2;

/// The characters of base64, of either alphabet (RFC 4648).
const BASE64: [bool; 256] = {
    let (mut all, mut c) = ([false; 256], 0);
    while c < 128 {
        let byte = c as u8;
        all[c] = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
        c += 1;
    }
    all
};

/// Whether this is a character of base64.
pub(super) fn is_base64(c: u8) -> bool {
    BASE64[usize::from(c)]
}

/// How bytes are written as characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Base64,
    Hex,
}

impl Code {
    /// How many characters make whole bytes, as a power of two.
    fn log_chars(self) -> u32 {
        match self {
            Self::Base64 => 2,
            Self::Hex => 1,
        }
    }

    /// How many characters make whole bytes: also, in how many ways a text can be read.
    pub(super) fn chars(self) -> u64 {
        1 << self.log_chars()
    }

    pub(super) fn value(self, c: u8) -> Option<u8> {
        match (self, c) {
            (_, b'0'..=b'9') if self == Self::Hex => Some(c - b'0'),
            (Self::Hex, b'a'..=b'f') => Some(c - b'a' + 10),
            (Self::Hex, b'A'..=b'F') => Some(c - b'A' + 10),
            (Self::Base64, b'A'..=b'Z') => Some(c - b'A'),
            (Self::Base64, b'a'..=b'z') => Some(c - b'a' + 26),
            (Self::Base64, b'0'..=b'9') => Some(c - b'0' + 52),
            (Self::Base64, b'+' | b'-') => Some(62),
            (Self::Base64, b'/' | b'_') => Some(63),
            _ => None,
        }
    }

    /// The byte that two characters make of which the second is the `place`-th, from 1.
    pub(super) fn byte(self, before: u8, value: u8, place: u64) -> u8 {
        match (self, place) {
            (Self::Hex, _) => before << 4 | value,
            (Self::Base64, 1) => before << 2 | value >> 4,
            (Self::Base64, 2) => before << 4 | value >> 2,
            (Self::Base64, _) => before << 6 | value,
        }
    }

    /// The first character of the byte of this number that holds no bit of the byte before.
    fn first_char(self, byte: u64) -> u64 {
        match self {
            Self::Hex => byte * 2,
            Self::Base64 => byte / 3 * 4 + [0, 2, 3][(byte % 3) as usize],
        }
    }
}

/// Follows what one code stands for. A text can be read from each of the first few characters on,
/// and what it stands for differs: each reading has a state.
pub(super) struct Coded {
    code: Code,
    /// How far it was read.
    at: u64,
    /// What is under way begins here or later; what began before is known.
    resume: u64,
    states: [u32; 4],
    /// Where the characters are. The readings count them from 4 on, so that each can begin earlier.
    chars: Units,
    /// The value of the last character.
    before: u8,
    /// Up to this character, the sieve cannot tell.
    steady: u64,
    /// Where an occurrence ended last; padding that follows is part of it.
    ended: u64,
    /// Whether it waits for the rest of a line break.
    waits: bool,
}

impl Coded {
    pub(super) fn new(code: Code) -> Self {
        Self {
            code,
            at: 0,
            resume: 0,
            states: [ROOT; 4],
            chars: Units::default(),
            before: 0,
            steady: 0,
            ended: 0,
            waits: false,
        }
    }

    /// Where what is under way begins, if anything is.
    pub(super) fn held(&self, matcher: &Matcher) -> Option<u64> {
        let mut held = None;
        let mut hold = |at: u64| held = Some(held.map_or(at, |h: u64| h.min(at)));
        let count = self.chars.count();
        for (shift, &state) in (0..self.code.chars()).zip(&self.states) {
            let depth = matcher.automaton.depth(state);
            if depth > 0 {
                hold(self.start(shift, depth));
            }
            // A first character that is all of the first byte's, and of a byte that is looked for.
            let low_bits = if self.code == Code::Hex { 4 } else { 2 };
            if count > 0
                && self.place(count - 1, shift) == 0
                && matcher.automaton.begins(self.before, low_bits)
            {
                hold(self.chars.start(count - 1));
            }
        }
        held
    }

    /// Begins anew at a place, for a new matcher.
    pub(super) fn restart(&mut self, at: u64) {
        (self.at, self.resume) = (at, at);
        self.reset();
    }

    fn reset(&mut self) {
        self.states = [ROOT; 4];
        self.chars.reset(0, 0);
        self.steady = 0;
        self.waits = false;
    }

    /// The place of a character among those that make whole bytes.
    fn place(&self, char: u64, shift: u64) -> u64 {
        (char + self.code.chars() - shift) & (self.code.chars() - 1)
    }

    /// Where the last `depth` bytes of a reading begin, the last of which ends with the last whole
    /// byte there is.
    fn start(&self, shift: u64, depth: u64) -> u64 {
        let (chars, last) = (self.code.chars(), self.chars.count() + self.code.chars() - 1 - shift);
        // Bytes end with every character but the first of each group.
        let bytes = (last >> self.code.log_chars()) * (chars - 1) + (last & (chars - 1));
        let first = self.code.first_char(bytes - depth);
        self.chars.start((first + shift).saturating_sub(chars))
    }

    /// Looks at what begins from `start` on. What is under way at `until` is read on to its end.
    pub(super) fn look(
        &mut self,
        matcher: &Matcher,
        input: &Input<'_>,
        (start, until): (u64, u64),
        spans: &mut Spans,
    ) {
        if until > self.at && !self.waits {
            self.reset();
            // The first byte may need the character before.
            self.at = start.max(self.resume).saturating_sub(1).max(input.base);
            self.go_on(matcher, input, until, spans);
        }
    }

    /// Where to look at the end, where the sieve cannot tell yet.
    pub(super) fn tail(&self, input: &Input<'_>) -> Option<u64> {
        let (mut tail, mut end) = (input.bytes, input.end());
        if let [rest @ .., b'\r'] = tail
            && line::is_full(input, end - 1)
        {
            (tail, end) = (rest, end - 1);
        }
        let tail = tail.iter().rev().take(UNSEEN_MAX as usize + 2);
        let count = tail.take_while(|c| self.code.value(**c).is_some()).count() as u64;
        (count > 0).then(|| end - count)
    }

    /// Says that all up to the end was looked at.
    pub(super) fn end(&mut self, input: &Input<'_>) {
        if self.at < input.end() && !self.waits {
            self.restart(input.end());
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
        self.waits = false;
        while self.at < input.end() {
            let count = self.chars.count();
            // What comes right after an occurrence may be its padding.
            let deep = |s: &u32| matcher.automaton.depth(*s) > SHALLOW;
            if self.at >= until
                && count >= self.steady
                && self.ended != self.at
                && !self.states.iter().any(deep)
            {
                let start = self.held(matcher).unwrap_or(self.at);
                if start >= input.new && self.at - start <= SHALLOW {
                    break;
                }
            }
            let c = input.from(self.at)[0];
            if let Some(value) = self.code.value(c) {
                self.feed(matcher, value, spans);
                continue;
            }
            let line_break = if count > 0 { line::read(input, self.at) } else { line::Break::No };
            match line_break {
                line::Break::Bytes(bytes) => {
                    self.at += bytes as u64;
                    self.steady = count + STEADY_CHARS;
                    self.forget(matcher);
                }
                line::Break::More if !input.last => {
                    self.waits = true;
                    self.steady = count + STEADY_CHARS;
                    break;
                }
                line::Break::More | line::Break::No => self.end_run(c, spans),
            }
        }
        self.resume = self.held(matcher).unwrap_or(self.at);
    }

    /// What is no character of the code ends all that is under way.
    fn end_run(&mut self, c: u8, spans: &mut Spans) {
        // How much padding there is would tell of the length of the secret.
        if c == b'=' && self.code == Code::Base64 && self.ended == self.at && self.at > 0 {
            spans.add(self.at - 1, self.at + 1);
            self.ended += 1;
        }
        self.reset();
        self.at += 1;
    }

    fn feed(&mut self, matcher: &Matcher, value: u8, spans: &mut Spans) {
        let automaton = &matcher.automaton;
        let char = self.chars.count();
        self.chars.push(self.at, 1);
        self.at += 1;
        for shift in 0..self.code.chars() {
            let place = self.place(char, shift);
            if place == 0 || char == 0 {
                continue;
            }
            let byte = self.code.byte(self.before, value, place);
            let state = automaton.step(self.states[shift as usize], byte);
            self.states[shift as usize] = state;
            let ends = automaton.ends_coded(state);
            if ends > 0 {
                spans.add(self.start(shift, ends), self.at);
                self.ended = self.at;
            }
        }
        self.before = value;
    }

    /// Forgets the lines that nothing under way begins in.
    fn forget(&mut self, matcher: &Matcher) {
        let depth = self.states.iter().map(|s| matcher.automaton.depth(*s)).max().unwrap_or(0);
        // At most two characters a byte, and those that are shared.
        self.chars.forget(self.chars.count().saturating_sub(depth * 2 + 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_first_character() {
        let firsts: Vec<_> = (0..7).map(|b| Code::Base64.first_char(b)).collect();
        assert_eq!(firsts, [0, 2, 3, 4, 6, 7, 8]);
        assert_eq!(Code::Hex.first_char(3), 6);
        let bytes: Vec<_> = [1, 2, 3].map(|p| Code::Base64.byte(0b10_1011, 0b01_0110, p)).into();
        assert_eq!(bytes, [0b1010_1101, 0b1011_0101, 0b1101_0110]);
    }
}
