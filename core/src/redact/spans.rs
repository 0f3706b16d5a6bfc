//! Which parts of a stream are secret.

use super::MASK;
use std::collections::BTreeMap;

/// Where occurrences are that were not given out yet, overlapping ones as one.
#[derive(Default)]
pub(super) struct Spans {
    /// From where to where, by where.
    spans: BTreeMap<u64, u64>,
    /// Where the last occurrence ends whose mask was given out.
    masked: u64,
}

impl Spans {
    /// Adds an occurrence.
    pub(super) fn add(&mut self, mut start: u64, mut end: u64) {
        while let Some((&at, &to)) = self.spans.range(..end).next_back() {
            if to <= start {
                break;
            }
            self.spans.remove(&at);
            (start, end) = (start.min(at), end.max(to));
        }
        self.spans.insert(start, end);
    }

    /// Whether nothing is secret from here up to there, and no mask would be given out.
    pub(super) fn is_clear(&self, from: u64, to: u64) -> bool {
        self.masked <= from && self.spans.range(..to).next().is_none()
    }

    /// Gives out bytes with every occurrence masked; `from` says where the first byte is. No
    /// occurrence may be added later that begins before the end of the bytes.
    pub(super) fn give(&mut self, bytes: &[u8], from: u64, out: &mut Vec<u8>) {
        let end = from + bytes.len() as u64;
        let mut at = from.max(self.masked).min(end);
        let slice = |a: u64, b: u64| &bytes[(a - from) as usize..(b - from) as usize];
        while let Some((&start, &stop)) = self.spans.first_key_value() {
            if start >= end {
                break;
            }
            self.spans.remove(&start);
            // What overlaps the occurrence before is one with it.
            if start >= self.masked {
                out.extend_from_slice(slice(at, start.max(at)));
                out.extend_from_slice(MASK);
            }
            self.masked = self.masked.max(stop);
            at = at.max(self.masked.min(end));
        }
        out.extend_from_slice(slice(at, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spans: &[(u64, u64)], expected: &str) {
        let text = b"0123456789";
        let mut all = Spans::default();
        spans.iter().for_each(|&(start, end)| all.add(start, end));
        let mut out = Vec::new();
        // Up to each occurrence, as streams do.
        all.give(&text[..2], 0, &mut out);
        all.give(&text[2..], 2, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{spans:?}");
    }

    #[test]
    fn what_overlaps_is_one() {
        check(&[], "0123456789");
        check(&[(0, 10)], "***");
        check(&[(1, 3), (3, 5), (6, 8)], "0******5***89");
        check(&[(6, 8), (2, 4), (3, 7)], "01***89");
        check(&[(2, 9), (3, 4), (1, 3)], "0***9");
    }
}
