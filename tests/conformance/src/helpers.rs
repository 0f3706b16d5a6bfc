use crate::time::breathe;
use futures::{FutureExt, future::poll_immediate};
use kiln::{ErrorKind, Result};
use std::{
    fmt::Debug,
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

/// How long one test may take.
const TEST_MAX: Duration = Duration::from_secs(60);

/// Runs one test on a runtime of two threads.
///
/// # Panics
///
/// If the test does, or if it takes longer than a minute.
pub fn run(name: &str, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a machine that runs tests can start two threads");
    let ended = runtime.block_on(async { tokio::time::timeout(TEST_MAX, test).await });
    // Not a drop: that would wait for calls that block for ever, and hide which test hangs.
    runtime.shutdown_timeout(Duration::from_secs(1));
    assert!(ended.is_ok(), "`{name}` did not end within {TEST_MAX:?}");
}

/// Polls a future up to so many times, with a moment between, and then drops it: a cancelled call.
/// The answer is there if it was ready in time.
pub async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for i in 0..times {
        if let Some(output) = poll_immediate(&mut future).await {
            return Some(output);
        }
        // Now and then long enough for work on other threads to come back.
        match i % 2 {
            0 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(300)).await,
        }
    }
    None
}

/// Expects an error of a kind.
#[track_caller]
pub(crate) fn expect_kind<T: Debug>(result: Result<T>, kind: ErrorKind, what: &str) {
    match result {
        Ok(value) => panic!("{what}: expected {kind:?}, got {value:?}"),
        Err(e) => assert_eq!(e.kind(), kind, "{what}: {e:?}"),
    }
}

/// Expects a call to come back soon: it has no reason to wait.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let start = Instant::now();
    let output = tokio::time::timeout(Duration::from_secs(5), future).await;
    match output {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing after {:?}", start.elapsed()),
    }
}

/// Expects a future to wait still after a moment.
pub(crate) async fn waits<F: Future + Unpin>(what: &str, future: &mut F) {
    tokio::select! {
        biased;
        _ = future.map(|_| ()) => panic!("{what}: it did not wait"),
        () = breathe() => {}
    }
}
