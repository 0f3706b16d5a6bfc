use kiln::{
    Timestamp,
    memory::{SystemClock, VirtualClock},
    port::Clock,
};
use std::{future::Future, pin::pin, time::Duration};

/// The time an adapter waits by.
#[derive(Clone, Debug)]
pub enum Time {
    /// The machine's; the suite really waits, never longer than a few seconds.
    Real(SystemClock),
    /// A clock that the suite moves.
    Virtual(VirtualClock),
}

impl Default for Time {
    fn default() -> Self {
        Self::Real(SystemClock::default())
    }
}

impl From<VirtualClock> for Time {
    fn from(clock: VirtualClock) -> Self {
        Self::Virtual(clock)
    }
}

impl Time {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Real(clock) => clock.now(),
            Self::Virtual(clock) => clock.now(),
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration) {
        match self {
            Self::Real(clock) => clock.sleep(time).await,
            Self::Virtual(clock) => {
                breathe().await;
                clock.advance(time);
                breathe().await;
            }
        }
    }

    /// Runs a future that is expected to wait for a time, which passes at once where it can.
    pub async fn hurry<F: Future>(&self, future: F) -> F::Output {
        let Self::Virtual(clock) = self else { return future.await };
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return output,
                () = breathe() => { clock.advance_to_next(); }
            }
        }
    }
}

/// Gives threads and tasks a moment to come as far as they can.
pub(crate) async fn breathe() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
}
