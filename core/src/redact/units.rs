//! Where the characters of a decoded text are in the stream.

use std::collections::VecDeque;

/// Where units of a text begin, by their number. Those that follow each other at the same distance
/// take no room of their own.
#[derive(Default)]
pub(super) struct Units {
    runs: VecDeque<Run>,
    next: u64,
}

struct Run {
    first: u64,
    start: u64,
    width: u64,
}

impl Units {
    /// Forgets everything; then knows of as many units as said, one byte each, that end here.
    pub(super) fn reset(&mut self, count: u64, end: u64) {
        self.runs.clear();
        self.next = count;
        if count > 0 {
            self.runs.push_back(Run { first: 0, start: end - count, width: 1 });
        }
    }

    /// Adds a unit.
    pub(super) fn push(&mut self, start: u64, width: u64) {
        let goes_on =
            |r: &Run| r.width == width && r.start + (self.next - r.first) * width == start;
        if !self.runs.back().is_some_and(goes_on) {
            self.runs.push_back(Run { first: self.next, start, width });
        }
        self.next += 1;
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.next
    }

    /// Where a unit begins. It must be there, and not forgotten.
    pub(super) fn start(&self, unit: u64) -> u64 {
        let after = self.runs.partition_point(|r| r.first <= unit);
        let run = after.checked_sub(1).and_then(|at| self.runs.get(at));
        run.map_or(0, |r| r.start + (unit - r.first) * r.width)
    }

    /// Forgets what comes before a unit.
    pub(super) fn forget(&mut self, before: u64) {
        while self.runs.get(1).is_some_and(|r| r.first <= before) {
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_found() {
        let mut units = Units::default();
        units.reset(3, 10);
        for (start, width) in [(10, 1), (11, 3), (14, 3), (17, 1), (20, 1), (20, 0)] {
            units.push(start, width);
        }
        units.forget(2);
        let starts: Vec<_> = (2..units.count()).map(|u| units.start(u)).collect();
        assert_eq!(starts, [9, 10, 11, 14, 17, 20, 20]);
        assert_eq!(units.runs.len(), 5);
        units.forget(5);
        assert_eq!((units.start(5), units.runs.len()), (14, 4));
    }
}
