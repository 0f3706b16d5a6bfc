//! How much a server has to say so that waiting for it makes sense.

use std::time::Duration;

/// How many bytes are the least for each window, whatever its length.
const BYTES_MIN: usize = 16;

/// Counts what comes while a server is waited for. A server that says nothing is given up, and so
/// is one that only trickles: half a byte a second is less than what git sends to keep a connection
/// alive while it computes (five bytes in five seconds).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    window: Duration,
    waited: Duration,
    bytes: usize,
}

impl Pace {
    /// With as much time as a server may be silent.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, waited: Duration::ZERO, bytes: 0 }
    }

    /// How long it may still take; zero if it is too slow.
    pub(super) fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// What came in the time that was waited so far.
    pub(super) fn heard(&self) -> usize {
        self.bytes
    }

    /// Counts time in which nothing else was done: when libgit2 is slow, the server is not to blame.
    pub(super) fn wait(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Counts bytes.
    pub(super) fn hear(&mut self, bytes: usize) {
        self.bytes += bytes;
        let seconds = usize::try_from(self.window.as_secs()).unwrap_or(usize::MAX);
        if self.bytes >= BYTES_MIN.max(seconds / 2) {
            *self = Self::new(self.window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasts(bytes: usize, every: Duration) -> bool {
        let mut pace = Pace::new(Duration::from_secs(60));
        (0..1000).all(|_| {
            pace.wait(every);
            let in_time = !pace.left().is_zero();
            pace.hear(bytes);
            in_time
        })
    }

    #[test]
    fn a_trickle_ends_and_a_sign_of_life_does_not() {
        assert!(lasts(5, Duration::from_secs(5)), "git's own sign of life");
        assert!(lasts(100_000, Duration::from_secs(50)));
        assert!(!lasts(1, Duration::from_secs(5)));
        assert!(!lasts(20, Duration::from_secs(50)));
        assert!(!lasts(0, Duration::from_secs(1)));
    }
}
