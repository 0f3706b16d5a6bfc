//! Finds many patterns at once by sampling the text.
//!
//! Of a text, only every `stride`-th group of four bytes (a gram) is looked at. The first `stride`
//! grams of every pattern are in a table, so that wherever a pattern begins exactly one of them is
//! looked at, which leads to the pattern and to where it begins. Look-ups do not wait for one
//! another, as those of an automaton or of a skipping search do, and nearly all end at one bit.
//! Patterns too short for a useful stride are a group of their own, with grams of three bytes.

use crate::secret::Secret;
use std::sync::Arc;

/// From this length on, a pattern is in the group with the long stride.
const LONG_MIN: usize = 8;
/// The longest stride; more costs memory and is hardly faster.
const STRIDE_MAX: usize = 13;
/// How many bits of the filter there are for each gram in it.
const BITS_PER_GRAM: usize = 16;
/// The smallest and the largest filter, as powers of two.
const LOG_BITS: std::ops::RangeInclusive<u32> = 10..=24;

/// A set of patterns, each of at least three bytes, and what is known of them.
#[derive(Default)]
pub(super) struct Matcher {
    /// Sorted, each once.
    patterns: Vec<Arc<Secret>>,
    short: Option<Group<3>>,
    long: Option<Group<4>>,
    /// The first three bytes of all patterns.
    begins: Filter,
    longest: usize,
}

impl Matcher {
    /// Takes in patterns, in any order.
    pub(super) fn of(mut patterns: Vec<Arc<Secret>>) -> Self {
        patterns.sort_unstable_by(|a, b| a.expose().cmp(b.expose()));
        patterns.dedup_by(|a, b| a.expose() == b.expose());
        let mut begins = Filter::for_grams(patterns.len());
        patterns.iter().for_each(|p| begins.insert(gram::<3>(p.expose(), 0)));
        let longest = patterns.iter().map(|p| p.expose().len()).max().unwrap_or(0);
        let short = Group::of(&patterns, |length| length < LONG_MIN);
        let long = Group::of(&patterns, |length| length >= LONG_MIN);
        Self { patterns, short, long, begins, longest }
    }

    /// The patterns, sorted.
    pub(super) fn patterns(&self) -> &[Arc<Secret>] {
        &self.patterns
    }

    /// Whether this is one of the patterns.
    pub(super) fn knows(&self, pattern: &[u8]) -> bool {
        self.patterns.binary_search_by(|p| p.expose().cmp(pattern)).is_ok()
    }

    /// Finds every occurrence of every pattern, overlapping ones too, in no order.
    pub(super) fn find(&self, text: &[u8], found: &mut Vec<(usize, usize)>) {
        if let Some(group) = &self.long {
            group.find(&self.patterns, text, found);
        }
        if let Some(group) = &self.short {
            group.find(&self.patterns, text, found);
        }
    }

    /// Where the longest end of the text begins that more text could make an occurrence.
    pub(super) fn safe(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        let likely = |at: usize| at + 3 > text.len() || self.begins.has(gram::<3>(text, at));
        (first..text.len())
            .find(|&at| likely(at) && self.is_beginning(&text[at..]))
            .unwrap_or(text.len())
    }

    /// Whether a pattern begins with this and goes on.
    fn is_beginning(&self, text: &[u8]) -> bool {
        let at = self.patterns.partition_point(|p| p.expose() <= text);
        self.patterns.get(at).is_some_and(|p| p.expose().starts_with(text))
    }
}

/// Patterns that are looked for with one stride, by grams of `GRAM` bytes.
struct Group<const GRAM: usize> {
    stride: usize,
    filter: Filter,
    /// Where in `entries` those of a gram begin, by the upper bits of its hash.
    buckets: Vec<u32>,
    shift: u32,
    entries: Vec<Entry>,
}

/// A gram of a pattern.
#[derive(Clone, Copy)]
struct Entry {
    gram: u32,
    pattern: u32,
    /// Where in the pattern the gram is.
    offset: u32,
}

impl<const GRAM: usize> Group<GRAM> {
    /// The patterns of these lengths; `None` if there are none.
    fn of(patterns: &[Arc<Secret>], of_length: fn(usize) -> bool) -> Option<Self> {
        let lengths = patterns.iter().map(|p| p.expose().len());
        let shortest = lengths.filter(|&length| of_length(length)).min()?;
        let stride = (shortest + 1).saturating_sub(GRAM).clamp(1, STRIDE_MAX);
        let mut entries = Vec::new();
        for (pattern, bytes) in patterns.iter().map(|p| p.expose()).enumerate() {
            if of_length(bytes.len()) {
                entries.extend((0..stride).map(|offset| Entry {
                    gram: gram::<GRAM>(bytes, offset),
                    pattern: pattern as u32,
                    offset: offset as u32,
                }));
            }
        }
        let mut filter = Filter::for_grams(entries.len());
        entries.iter().for_each(|e| filter.insert(e.gram));
        let shift = 32 - entries.len().next_power_of_two().ilog2().clamp(1, *LOG_BITS.end());
        entries.sort_unstable_by_key(|e| (hash(e.gram) >> shift, e.gram));
        let buckets = (0..=1_u64 << (32 - shift))
            .map(|b| entries.partition_point(|e| u64::from(hash(e.gram) >> shift) < b) as u32)
            .collect();
        Some(Self { stride, filter, buckets, shift, entries })
    }

    fn find(&self, patterns: &[Arc<Secret>], text: &[u8], found: &mut Vec<(usize, usize)>) {
        let mut at = 0;
        while at + GRAM <= text.len() {
            let gram = gram::<GRAM>(text, at);
            if self.filter.has(gram) {
                self.verify(patterns, text, at, gram, found);
            }
            at += self.stride;
        }
    }

    /// Finds the occurrences that have this gram here. The filter lets few others pass.
    #[cold]
    fn verify(
        &self,
        patterns: &[Arc<Secret>],
        text: &[u8],
        at: usize,
        gram: u32,
        found: &mut Vec<(usize, usize)>,
    ) {
        let bucket = (hash(gram) >> self.shift) as usize;
        let range = self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize;
        for entry in self.entries[range].iter().filter(|e| e.gram == gram) {
            let Some(start) = at.checked_sub(entry.offset as usize) else { continue };
            let pattern = patterns[entry.pattern as usize].expose();
            if text[start..].starts_with(pattern) {
                found.push((start, start + pattern.len()));
            }
        }
    }
}

/// Says of most grams that they are not in a set.
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self::for_grams(0)
    }
}

impl Filter {
    fn for_grams(count: usize) -> Self {
        let bits = (count * BITS_PER_GRAM).next_power_of_two().ilog2();
        let log_bits = bits.clamp(*LOG_BITS.start(), *LOG_BITS.end());
        Self { bits: vec![0; 1 << (log_bits - 6)], shift: 32 - log_bits }
    }

    fn insert(&mut self, gram: u32) {
        let bit = hash(gram) >> self.shift;
        self.bits[(bit >> 6) as usize] |= 1 << (bit & 63);
    }

    #[inline]
    fn has(&self, gram: u32) -> bool {
        let bit = hash(gram) >> self.shift;
        // Always there; asked for so that the loop around this has no panic in it.
        self.bits.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }
}

/// Multiplicative hashing: the upper bits are the good ones.
#[inline]
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9E37_79B1)
}

/// The `GRAM` bytes from here on, which have to be there, as one number.
#[inline]
fn gram<const GRAM: usize>(text: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word[..GRAM].copy_from_slice(&text[at..at + GRAM]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(patterns: &[&str]) -> Matcher {
        Matcher::of(patterns.iter().map(|p| Arc::new(Secret::new(*p))).collect())
    }

    #[test]
    fn every_occurrence_is_found_once() {
        let long = "0123456789".repeat(3);
        for patterns in [&["abc"][..], &["abcdefgh"], &["abc", "abcdefgh", &long, "bcdefghi"]] {
            let matcher = matcher(patterns);
            for before in 0..30 {
                for pattern in patterns {
                    let text = format!("{}{pattern}{}", "x".repeat(before), "y".repeat(before % 7));
                    let mut found = Vec::new();
                    matcher.find(text.as_bytes(), &mut found);
                    found.sort_unstable();
                    let expected: Vec<_> = (0..text.len())
                        .flat_map(|at| patterns.iter().map(move |p| (at, at + p.len(), p)))
                        .filter(|&(at, _, p)| text[at..].starts_with(p))
                        .map(|(at, end, _)| (at, end))
                        .collect();
                    assert_eq!(found, expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn only_a_beginning_is_unsafe() {
        let matcher = matcher(&["hunter2", "abc"]);
        for (text, safe) in
            [("xhunter", 1), ("xhunte r", 8), ("ab", 0), ("xxab", 2), ("h", 0), ("", 0), ("aba", 2)]
        {
            assert_eq!(matcher.safe(text.as_bytes()), safe, "{text}");
        }
        assert_eq!(Matcher::default().safe(b"hunter"), 6);
    }
}
