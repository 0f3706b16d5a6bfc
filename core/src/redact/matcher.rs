//! Finds many patterns at once, by the algorithm of Wu and Manber ("A fast algorithm for
//! multi-pattern searching", 1994): the last two bytes of a window as long as the shortest pattern
//! say how far the window may move without missing the beginning of one.

use crate::secret::Secret;
use std::collections::HashMap;

/// The longest window; more would not move faster.
const WINDOW_MAX: usize = 64;

/// A set of patterns and what is known of them.
#[derive(Default)]
pub(super) struct Matcher {
    /// Sorted, each once.
    patterns: Vec<Secret>,
    /// How long the window is: the length of the shortest pattern.
    window: usize,
    /// How far the window may move, by its last two bytes.
    shift: Vec<u8>,
    /// Which patterns have these two bytes at the end of the window.
    ends: HashMap<u16, Vec<u32>>,
    /// Which bytes patterns begin with.
    begins: Vec<bool>,
    longest: usize,
}

fn pair(a: u8, b: u8) -> u16 {
    u16::from_be_bytes([a, b])
}

impl Matcher {
    /// How many patterns there are.
    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// These patterns and more, each of at least 2 bytes; `None` if all are known.
    pub(super) fn with(&self, more: Vec<Secret>) -> Option<Self> {
        let known =
            |p: &Secret| self.patterns.binary_search_by(|q| q.expose().cmp(p.expose())).is_ok();
        if more.iter().all(known) {
            return None;
        }
        let mut patterns = self.patterns.clone();
        patterns.extend(more);
        patterns.sort_by(|a, b| a.expose().cmp(b.expose()));
        patterns.dedup_by(|a, b| a.expose() == b.expose());
        Some(Self::of(patterns))
    }

    fn of(patterns: Vec<Secret>) -> Self {
        let lengths = || patterns.iter().map(|p| p.expose().len());
        let window = lengths().min().unwrap_or(0).min(WINDOW_MAX);
        let longest = lengths().max().unwrap_or(0);
        let mut shift = vec![(window - 1) as u8; 1 << 16];
        let mut ends: HashMap<u16, Vec<u32>> = HashMap::new();
        let mut begins = vec![false; 256];
        for (i, pattern) in patterns.iter().enumerate() {
            let bytes = &pattern.expose()[..window];
            begins[usize::from(bytes[0])] = true;
            for end in 2..=window {
                let at = &mut shift[usize::from(pair(bytes[end - 2], bytes[end - 1]))];
                *at = (*at).min((window - end) as u8);
            }
            ends.entry(pair(bytes[window - 2], bytes[window - 1])).or_default().push(i as u32);
        }
        Self { patterns, window, shift, ends, begins, longest }
    }

    /// Finds every occurrence of every pattern, overlapping ones too.
    pub(super) fn find(&self, text: &[u8], found: &mut Vec<(usize, usize)>) {
        if self.patterns.is_empty() {
            return;
        }
        // A fixed size lets the compiler drop the bounds check of every look-up.
        let Ok(shift) = <&[u8; 1 << 16]>::try_from(self.shift.as_slice()) else { return };
        let mut end = self.window;
        while end <= text.len() {
            let last = pair(text[end - 2], text[end - 1]);
            let step = shift[usize::from(last)];
            if step > 0 {
                end += usize::from(step);
                continue;
            }
            let start = end - self.window;
            for &i in self.ends.get(&last).into_iter().flatten() {
                let pattern = self.patterns[i as usize].expose();
                if text[start..].starts_with(pattern) {
                    found.push((start, start + pattern.len()));
                }
            }
            end += 1;
        }
    }

    /// Where the longest end of the text begins that more text could make an occurrence.
    pub(super) fn safe(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        (first..text.len())
            .find(|&at| self.begins[usize::from(text[at])] && self.is_beginning(&text[at..]))
            .unwrap_or(text.len())
    }

    /// Whether a pattern begins with this and goes on.
    fn is_beginning(&self, text: &[u8]) -> bool {
        let at = self.patterns.partition_point(|p| p.expose() <= text);
        self.patterns.get(at).is_some_and(|p| p.expose().starts_with(text))
    }
}
