//! The sums of what `cargo test` prints.

/// Counts tests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Tests that passed, those that were skipped among them.
    passed: usize,
    pub(super) failed: usize,
    /// Name and reason of each test that printed `SKIPPED: <name>: <reason>`.
    pub(super) skipped: Vec<(String, String)>,
    /// Inside of what passing tests printed.
    in_successes: bool,
}

impl Tally {
    /// Takes one line; says whether it is for the terminal.
    pub(super) fn line(&mut self, line: &str) -> bool {
        if let Some(skip) = line.strip_prefix("SKIPPED: ") {
            let (name, reason) = skip.split_once(": ").unwrap_or((skip, "no reason given"));
            self.skipped.push((name.to_owned(), reason.to_owned()));
            return true;
        }
        match line {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.in_successes = false;
            self.passed += number_before(result, " passed");
            self.failed += number_before(result, " failed");
        }
        !self.in_successes
    }

    /// How many were skipped for another reason than the kernel, or a release of the system that
    /// lacks what the test is about.
    pub(super) fn holes(&self) -> usize {
        let excused =
            |reason: &str| reason.starts_with("kernel:") || reason.starts_with("release:");
        self.skipped.iter().filter(|(_, reason)| !excused(reason)).count()
    }

    /// `N passed, N failed`, and `N skipped` if any were. `holes` of the skipped ones are among the
    /// failed.
    pub(super) fn last_line(&self, failed: usize, holes: usize) -> String {
        let passed = self.passed.saturating_sub(self.skipped.len());
        match self.skipped.len().saturating_sub(holes) {
            0 => format!("{passed} passed, {failed} failed"),
            skipped => format!("{passed} passed, {failed} failed, {skipped} skipped"),
        }
    }
}

/// The number right before `word`.
fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- a stdout ----
some noise
SKIPPED: a: no engine

---- b stdout ----
SKIPPED: b: kernel: no overlayfs

successes:
    a
    b

failures:

---- c stdout ----
why

test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 9 filtered out; finished in 0.01s
running 12 tests
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        let shown: Vec<_> = OUTPUT.lines().filter(|line| tally.line(line)).collect();
        assert_eq!((tally.passed, tally.failed, tally.holes()), (14, 1, 1));
        assert!(shown.contains(&"why") && shown.contains(&"SKIPPED: a: no engine"));
        assert!(!shown.contains(&"some noise") && !shown.contains(&"    a"));
        assert_eq!(tally.last_line(1, 0), "12 passed, 1 failed, 2 skipped");
        assert_eq!(tally.last_line(2, 1), "12 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn nothing_skipped_says_nothing_about_it() {
        let mut tally = Tally::default();
        tally.line("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(tally.last_line(0, 0), "3 passed, 0 failed");
    }
}
