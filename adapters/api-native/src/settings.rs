//! The bounds of the API.

use crate::limits::Rate;
use std::time::Duration;

/// What clients may ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How many bytes an uploaded context has at most: 2 GiB unless changed.
    pub context_bytes_max: u64,
    /// How long the next bytes of a body are waited for: 30 s unless changed.
    pub body_wait: Duration,
    /// How long a source may take to be verified: 30 s unless changed.
    pub verify_wait: Duration,
    /// How many requests each token may make: 5,000 at once and 60,000 a minute unless changed.
    /// Requests without a token, where none is needed, are not counted.
    pub requests: Rate,
    /// How many bad tokens each peer may show: 20 at once and 20 a minute unless changed.
    pub failures: Rate,
    /// How often a websocket is asked whether it is still there: every 20 s unless changed. One
    /// that says nothing for three such times, or takes nothing, is closed.
    pub ping: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            context_bytes_max: 2 << 30,
            body_wait: Duration::from_secs(30),
            verify_wait: Duration::from_secs(30),
            requests: Rate { burst: 5_000, per_minute: 60_000 },
            failures: Rate { burst: 20, per_minute: 20 },
            ping: Duration::from_secs(20),
        }
    }
}
