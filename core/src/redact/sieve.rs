//! Finds where patterns may begin, by sampling the text.
//!
//! Of a text, only every `stride`-th group of four bytes (a gram) is looked at. The first `stride`
//! grams of every head are in a table, so that wherever a head begins exactly one of them is looked
//! at. Look-ups do not wait for one another, as those of an automaton or of a skipping search do,
//! and nearly all end at one bit. Heads too short for a useful stride are a group of their own,
//! with grams of three bytes.

use super::plain::Pattern;
use base64::{Engine, engine::general_purpose as base64_kind};
use std::{collections::BTreeSet, sync::Arc};
use zeroize::Zeroizing;

/// From this length on, a head is in the group with the long stride.
const LONG_MIN: usize = 8;
/// The longest stride; more costs memory and is hardly faster.
const STRIDE_MAX: usize = 13;
/// How much of a pattern is a head: as much as the longest stride makes use of.
const HEAD_MAX: usize = STRIDE_MAX + 3;
/// What begins here and has so many bytes is found; of what has fewer, the rest may yet come.
pub(super) const UNSEEN_MAX: u64 = HEAD_MAX as u64 - 1;
/// How many heads with the same gram are compared with the text. Where there are more, each is
/// taken to be there: work must not grow with the number of secrets that begin alike.
const COMPARED_MAX: usize = 4;
/// How many bits of the filter there are for each gram in it.
const BITS_PER_GRAM: usize = 32;
/// The smallest and the largest filter, as powers of two.
const LOG_BITS: std::ops::RangeInclusive<u32> = 15..=24;

/// As what a pattern may be in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// As it is, or with escapes.
    Text,
    Base64,
    Hex,
}

/// Where a pattern may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hint {
    /// Where it would begin.
    pub(super) start: u64,
    /// What has been read up to here without finding it does not hold it.
    pub(super) until: u64,
    pub(super) form: Form,
}

/// The beginnings of all patterns.
#[derive(Default)]
pub(super) struct Sieve {
    heads: Vec<(Zeroizing<Vec<u8>>, Form)>,
    short: Option<Group<3>>,
    long: Option<Group<4>>,
}

impl Sieve {
    pub(super) fn of(patterns: &[Arc<Pattern>]) -> Self {
        let mut heads = BTreeSet::new();
        for pattern in patterns {
            let bytes = pattern.bytes.expose();
            heads.insert((bytes[..bytes.len().min(HEAD_MAX)].to_vec(), Form::Text));
            if pattern.coded {
                heads.extend(base64_heads(bytes).into_iter().map(|h| (h, Form::Base64)));
                heads.extend(hex_heads(bytes).map(|h| (h, Form::Hex)));
            }
        }
        let heads: Vec<_> = heads.into_iter().map(|(h, form)| (Zeroizing::new(h), form)).collect();
        let short = Group::of(&heads, |length| length < LONG_MIN);
        let long = Group::of(&heads, |length| length >= LONG_MIN);
        Self { heads, short, long }
    }

    /// Adds a hint for every head that is in the text from a place on; `base` says where the text
    /// is in the stream.
    pub(super) fn find(&self, text: &[u8], from: usize, base: u64, hints: &mut Vec<Hint>) {
        if let Some(group) = &self.long {
            group.find(&self.heads, text, from, base, hints);
        }
        if let Some(group) = &self.short {
            group.find(&self.heads, text, from, base, hints);
        }
    }
}

/// What stays the same of the beginning of a pattern's base64, whatever comes before and after it.
fn base64_heads(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut heads = Vec::new();
    for before in 0..3 {
        let mut all = Zeroizing::new(vec![0; before]);
        all.extend_from_slice(&bytes[..bytes.len().min(HEAD_MAX)]);
        // Characters that hold a bit of what comes before or after are left out.
        let (skip, whole) = ((before * 8).div_ceil(6), all.len() * 8 / 6);
        let end = whole.min(skip + HEAD_MAX);
        for alphabet in [&base64_kind::STANDARD_NO_PAD, &base64_kind::URL_SAFE_NO_PAD] {
            heads.push(alphabet.encode(&*all).as_bytes()[skip..end].to_vec());
        }
    }
    heads
}

fn hex_heads(bytes: &[u8]) -> [Vec<u8>; 2] {
    [b"0123456789abcdef", b"0123456789ABCDEF"].map(|digits| {
        let bytes = bytes.iter().take(HEAD_MAX / 2);
        bytes.flat_map(|c| [c >> 4, c & 15]).map(|d| digits[usize::from(d)]).collect()
    })
}

/// Heads that are looked for with one stride, by grams of `GRAM` bytes.
struct Group<const GRAM: usize> {
    stride: usize,
    filter: Filter,
    /// Where in `entries` those of a gram begin, by the upper bits of its hash.
    buckets: Vec<u32>,
    shift: u32,
    entries: Vec<Entry>,
}

/// A gram of a head.
#[derive(Clone, Copy)]
struct Entry {
    gram: u32,
    head: u32,
    /// Where in the head the gram is.
    offset: u32,
}

impl<const GRAM: usize> Group<GRAM> {
    /// The heads of these lengths; `None` if there are none.
    fn of(heads: &[(Zeroizing<Vec<u8>>, Form)], of_length: fn(usize) -> bool) -> Option<Self> {
        let lengths = heads.iter().map(|(head, _)| head.len());
        let shortest = lengths.filter(|&length| of_length(length)).min()?;
        let stride = (shortest + 1).saturating_sub(GRAM).clamp(1, STRIDE_MAX);
        let mut entries = Vec::new();
        for (head, (bytes, _)) in heads.iter().enumerate() {
            if of_length(bytes.len()) {
                entries.extend((0..stride).map(|offset| Entry {
                    gram: gram::<GRAM>(bytes, offset),
                    head: head as u32,
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

    fn find(
        &self,
        heads: &[(Zeroizing<Vec<u8>>, Form)],
        text: &[u8],
        from: usize,
        base: u64,
        hints: &mut Vec<Hint>,
    ) {
        let mut at = from;
        while at + GRAM <= text.len() {
            let gram = gram::<GRAM>(text, at);
            if self.filter.has(gram) {
                self.verify(heads, &text[from..], at - from, base + from as u64, hints);
            }
            at += self.stride;
        }
    }

    /// Finds the heads that have the gram that is here. The filter lets few others pass.
    #[cold]
    fn verify(
        &self,
        heads: &[(Zeroizing<Vec<u8>>, Form)],
        text: &[u8],
        at: usize,
        base: u64,
        hints: &mut Vec<Hint>,
    ) {
        let gram = gram::<GRAM>(text, at);
        let bucket = (hash(gram) >> self.shift) as usize;
        let range = self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize;
        let entries = &self.entries[range];
        let first = entries.partition_point(|e| e.gram < gram);
        let count = entries[first..].partition_point(|e| e.gram == gram);
        let until = base + (at + GRAM) as u64;
        if count > COMPARED_MAX {
            let start = base + at.saturating_sub(self.stride - 1) as u64;
            hints.extend([Form::Text, Form::Base64, Form::Hex].map(|form| Hint {
                start,
                until,
                form,
            }));
            return;
        }
        for entry in &entries[first..first + count] {
            let Some(start) = at.checked_sub(entry.offset as usize) else { continue };
            let (head, form) = &heads[entry.head as usize];
            let there = &text[start..text.len().min(start + head.len())];
            if head.starts_with(there) {
                hints.push(Hint { start: base + start as u64, until, form: *form });
            }
        }
    }
}

/// Says of most grams that they are not in a set.
struct Filter {
    bits: Vec<u64>,
    shift: u32,
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
    use crate::secret::Secret;

    #[test]
    fn every_head_is_found_wherever_it_begins() {
        let long = "0123456789".repeat(3);
        for patterns in [&["abc"][..], &["abcdefgh"], &["abc", "abcdefgh", &long, "bcdefghi"]] {
            let all = patterns.iter().map(|p| Pattern { bytes: Secret::new(*p), coded: true });
            let sieve = Sieve::of(&all.map(Arc::new).collect::<Vec<_>>());
            for (before, pattern) in (0..30).flat_map(|n| patterns.iter().map(move |p| (n, p))) {
                for (text, form) in [
                    ((*pattern).to_owned(), Form::Text),
                    (base64_kind::STANDARD.encode(pattern), Form::Base64),
                    (pattern.bytes().map(|c| format!("{c:02X}")).collect(), Form::Hex),
                ] {
                    let text = format!("--{}{text}{}", "x".repeat(before), "y".repeat(before % 7));
                    let mut hints = Vec::new();
                    if text.len() > 16 && (form == Form::Text || pattern.len() > 4) {
                        sieve.find(text.as_bytes(), 2, 100, &mut hints);
                        let start = 102 + before as u64;
                        let found = hints.iter().any(|h| h.start == start && h.form == form);
                        assert!(found, "{text} {form:?} {hints:?}");
                    }
                }
            }
        }
    }
}
