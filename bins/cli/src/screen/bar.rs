//! How far one transfer is.

use crate::text;
use kiln::port::{Progress, ProgressUnit};
use std::time::Duration;

/// A rate is told only when it has been measured for so long.
const RATE_AFTER: Duration = Duration::from_millis(500);

/// The last progress of an item, and where it began.
#[derive(Debug)]
pub(super) struct Bar {
    last: Progress,
    first: u64,
    since: Duration,
}

impl Bar {
    pub(super) fn new(progress: &Progress, now: Duration) -> Self {
        Self { last: progress.clone(), first: progress.done, since: now }
    }

    /// Whether nothing more comes of an item.
    pub(super) fn is_over(progress: &Progress) -> bool {
        progress.total == Some(progress.done)
    }

    pub(super) fn take(&mut self, progress: &Progress, now: Duration) {
        if progress.action != self.last.action || progress.done < self.last.done {
            *self = Self::new(progress, now);
        } else {
            self.last = progress.clone();
        }
    }

    pub(super) fn line(&self, now: Duration, columns: usize) -> String {
        let Progress { done, total, .. } = self.last;
        let count = |n: u64| match self.last.unit {
            ProgressUnit::Bytes => text::bytes(n),
            ProgressUnit::Objects => n.to_string(),
        };
        let mut out = String::from("           ");
        if let Some(total) = total.filter(|t| *t > 0) {
            // On a narrow terminal the words say more than the bar.
            if columns >= 70 {
                let filled = (done.min(total) as f64 / total as f64 * 20.0) as usize;
                out.push_str(&format!("[{:20}] ", "=".repeat(filled)));
            }
            out.push_str(&format!("{:>8} of {:<8} ", count(done), count(total)));
        } else if done > 0 {
            out.push_str(&format!("{:>8} ", count(done)));
        }
        let time = now.saturating_sub(self.since);
        if time >= RATE_AFTER && self.last.unit == ProgressUnit::Bytes && done > self.first {
            let rate = (done - self.first) as f64 / time.as_secs_f64();
            out.push_str(&format!("{:>8}/s ", text::bytes(rate as u64)));
        }
        out.push_str(&text::plain(&self.last.action));
        out.push(' ');
        out.push_str(&text::plain(self.name()));
        out
    }

    /// The item as people know it: without the number of its instruction.
    fn name(&self) -> &str {
        match self.last.item.strip_prefix('#').and_then(|i| i.split_once(' ')) {
            Some((number, name)) if number.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.last.item,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: Option<u64>) -> Progress {
        let (item, action) = ("#3 layer".into(), "Pulling".into());
        Progress { item, action, done, total, unit: ProgressUnit::Bytes }
    }

    #[test]
    fn a_bar_tells_how_much_and_how_fast() {
        let mut bar = Bar::new(&progress(0, Some(4_000_000)), Duration::ZERO);
        bar.take(&progress(1_000_000, Some(4_000_000)), Duration::from_secs(1));
        assert_eq!(
            bar.line(Duration::from_secs(2), 80).trim_start(),
            "[=====               ]   1.0 MB of 4.0 MB   500.0 kB/s Pulling layer"
        );
        assert_eq!(bar.line(Duration::ZERO, 40).trim_start(), "1.0 MB of 4.0 MB   Pulling layer");
        bar.take(&progress(7, None), Duration::from_secs(2));
        assert_eq!(bar.line(Duration::from_secs(9), 80).trim_start(), "7 B Pulling layer");
        assert!(Bar::is_over(&progress(0, Some(0))));
        bar.take(&progress(9, Some(4)), Duration::from_secs(2));
        assert!(bar.line(Duration::from_secs(2), 80).contains("[====================]"));
    }
}
