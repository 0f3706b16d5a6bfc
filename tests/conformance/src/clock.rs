//! What every [`Clock`] must do.
//!
//! The expression makes a `Fresh<C>` whose [`Time`](crate::Time) is the clock itself, or moves with it.

use crate::{
    Fresh,
    helpers::{soon, waits},
    poll_times,
};
use futures::future::join_all;
use kiln::port::Clock;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Makes a test of every promise of a clock. The expression makes a `Fresh<C>` for some `C: Clock`.
#[macro_export]
macro_rules! clock_suite {
    ($fresh:expr) => {
        $crate::tests_of! { clock, $fresh,
            a_sleep_ends_when_its_time_has_passed
            sleepers_wake_in_their_order
            no_time_is_no_sleep
            a_dropped_sleep_harms_nobody
            the_longest_sleep_is_no_fault
        }
    };
}

/// A sleep ends when so much time has passed: not before, and soon after.
pub async fn a_sleep_ends_when_its_time_has_passed<C: Clock + ?Sized>(clock: Fresh<C>) {
    let (start, done) = (clock.now(), AtomicBool::new(false));
    let sleep = async {
        clock.sleep(Duration::from_millis(300)).await;
        done.store(true, Ordering::SeqCst);
    };
    let pass = async {
        clock.clock().pass(Duration::from_millis(100)).await;
        assert!(!done.load(Ordering::SeqCst), "a third of the time is not all of it");
        clock.clock().pass(Duration::from_millis(201)).await;
    };
    soon("a sleep", async { tokio::join!(sleep, pass) }).await;
    let passed = clock.now().since(start);
    // Times are whole milliseconds, cut off.
    assert!(passed >= Duration::from_millis(299), "only {passed:?} passed");
}

/// Whoever sleeps less wakes first, also if it fell asleep last.
pub async fn sleepers_wake_in_their_order<C: Clock + ?Sized>(clock: Fresh<C>) {
    let woke = Mutex::new(Vec::new());
    let sleepers = join_all([400, 100, 300, 200].map(|millis| {
        let (clock, woke) = (clock.port(), &woke);
        async move {
            clock.sleep(Duration::from_millis(millis)).await;
            woke.lock().unwrap().push(millis);
        }
    }));
    let pass = async {
        for _ in 0..9 {
            clock.clock().pass(Duration::from_millis(50)).await;
        }
    };
    soon("sleepers", async { tokio::join!(sleepers, pass) }).await;
    assert_eq!(*woke.lock().unwrap(), [100, 200, 300, 400]);
}

/// Sleeping for no time returns at once.
pub async fn no_time_is_no_sleep<C: Clock + ?Sized>(clock: Fresh<C>) {
    soon("no time", clock.sleep(Duration::ZERO)).await;
}

/// Sleeps that are given up leave others alone.
pub async fn a_dropped_sleep_harms_nobody<C: Clock + ?Sized>(clock: Fresh<C>) {
    let port = clock.port();
    let mut sleep = Box::pin(port.sleep(Duration::from_millis(200)));
    for polls in 0..4 {
        poll_times(clock.sleep(Duration::from_millis(100)), polls).await;
    }
    waits("for its time", &mut sleep).await;
    let pass = clock.clock().pass(Duration::from_millis(201));
    soon("a sleep beside dropped ones", async { tokio::join!(sleep, pass) }).await;
}

/// The longest sleep there is neither ends nor fails.
pub async fn the_longest_sleep_is_no_fault<C: Clock + ?Sized>(clock: Fresh<C>) {
    let port = clock.port();
    for time in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 40)] {
        let mut sleep = Box::pin(port.sleep(time));
        waits("very long", &mut sleep).await;
    }
}
