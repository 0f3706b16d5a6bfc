//! Every suite on every layer, and each layer's own promise.

use crate::on_host::OnHost;
use futures::future::BoxFuture;
use kiln::{
    Attempts, Error, ErrorKind, Result, StopReason, Timestamp,
    layer::{Again, Around, Call, Layered, Limit, Redact, Retry, Timeout, Trace},
    memory::{
        MemoryArtifacts, MemoryBuilder, MemoryContainers, MemoryFleet, MemoryIndex, MemoryLog,
        MemoryNotifier, MemoryQueue, MemoryRegistry, MemoryRuntime, MemorySecrets, MemorySource,
        MemoryStore, MemoryWorkspaces, VirtualClock,
    },
    port::Clock,
};
use kiln_conformance::{Fresh, sample::owner, step::TestStep};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Of the calls that may be made again, a quarter fails before and a quarter loses its answer.
#[derive(Clone, Debug, Default)]
struct Flaky(Arc<AtomicU64>);

impl Around for Flaky {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let lost = || Err(Error::new(ErrorKind::Unavailable, call.op, "the line went dead"));
        // Scattered, so that two who call in turns do not meet the same fate for ever.
        let turn = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62;
        match turn {
            _ if call.again != Again::Safe => work().await,
            0 => lost(),
            // A call that waits for news may take what it was to wait for.
            1 if call.patience.is_zero() => work().await.and_then(|_| lost()),
            _ => work().await,
        }
    }
}

fn retry(clock: Arc<dyn Clock>) -> Retry {
    Retry::new(clock, Attempts { max: 20, backoff_ms: 0 })
}

/// Retry around a line that fails.
#[derive(Clone, Debug)]
struct OverFlaky(Retry, Flaky);

impl Around for OverFlaky {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let work = Arc::new(work);
        self.0
            .around(call, move || {
                let work = work.clone();
                Box::pin(self.1.around(call, move || work()))
            })
            .await
    }
}

fn timed<P, A: Around>(
    layer: impl FnOnce(Arc<dyn Clock>) -> A,
    make: impl FnOnce(Arc<dyn Clock>) -> P,
) -> Fresh<Layered<P, A>> {
    let clock = VirtualClock::at(Timestamp(1_000_000));
    let port = make(Arc::new(clock.clone()));
    let layered = Layered::new(Arc::new(port), layer(Arc::new(clock.clone())));
    Fresh::new(Arc::new(layered)).time(clock.into())
}

macro_rules! around_everything {
    ($($name:ident: $layer:expr;)*) => { $(mod $name {
        use super::*;

        fn fresh<P>(make: impl FnOnce(Arc<dyn Clock>) -> P) -> Fresh<Layered<P, impl Around>> {
            timed($layer, make)
        }

        fn real<P>(port: P) -> Fresh<Layered<P, impl Around>> {
            let clock: Arc<dyn Clock> = Arc::new(kiln::memory::SystemClock::default());
            Fresh::new(Arc::new(Layered::new(Arc::new(port), ($layer)(clock))))
        }

        around_everything!(@ store fresh(|c| MemoryStore::with_clock(c)));
        around_everything!(@ log fresh(|c| MemoryLog::with_clock(c)));
        around_everything!(@ queue fresh(|c| MemoryQueue::with_clock(c)));
        around_everything!(@ index real(MemoryIndex::default()));
        around_everything!(@ fleet real(MemoryFleet::default()));
        around_everything!(@ artifacts real(MemoryArtifacts::default()));
        around_everything!(@ workspaces real(MemoryWorkspaces::default()));
        around_everything!(@ notifier real(MemoryNotifier::default()));
        around_everything!(@ secrets real({
            let secrets = MemorySecrets::default();
            let name = kiln::SecretRef::new("token").unwrap();
            secrets.set(owner("ann"), name, kiln::Secret::new("s3cret of ann"));
            secrets
        }));
        around_everything!(@ source real(MemorySource::default()));
        around_everything!(@ builder real(OnHost::new(MemoryBuilder::new)));
        around_everything!(@ runtime real(MemoryRuntime::default()));
        around_everything!(@ registry real(OnHost::new(MemoryRegistry::new)));
        around_everything!(@ containers real(OnHost::new(MemoryContainers::new)));
    })* };
    (@ store $fresh:expr) => { mod store { use super::*; kiln_conformance::store_suite!($fresh); } };
    (@ log $fresh:expr) => { mod log { use super::*; kiln_conformance::log_suite!($fresh); } };
    (@ queue $fresh:expr) => { mod queue { use super::*; kiln_conformance::queue_suite!($fresh); } };
    (@ index $fresh:expr) => { mod index { use super::*; kiln_conformance::index_suite!($fresh); } };
    (@ fleet $fresh:expr) => { mod fleet { use super::*; kiln_conformance::fleet_suite!($fresh); } };
    (@ artifacts $fresh:expr) => { mod artifacts { use super::*; kiln_conformance::artifacts_suite!($fresh); } };
    (@ workspaces $fresh:expr) => { mod workspaces { use super::*; kiln_conformance::workspaces_suite!($fresh); } };
    (@ notifier $fresh:expr) => { mod notifier { use super::*; kiln_conformance::notifier_suite!($fresh); } };
    (@ secrets $fresh:expr) => { mod secrets { use super::*; kiln_conformance::secrets_suite!($fresh); } };
    (@ source $fresh:expr) => { mod source { use super::*; kiln_conformance::source_suite!($fresh); } };
    (@ builder $fresh:expr) => { mod builder { use super::*; kiln_conformance::builder_suite!($fresh); } };
    (@ runtime $fresh:expr) => { mod runtime { use super::*; kiln_conformance::runtime_suite!($fresh); } };
    (@ registry $fresh:expr) => { mod registry { use super::*; kiln_conformance::registry_suite!($fresh); } };
    (@ containers $fresh:expr) => { mod containers { use super::*; kiln_conformance::containers_suite!($fresh); } };
}

around_everything! {
    retry_over_a_bad_line: |clock| OverFlaky(retry(clock), Flaky::default());
    timeout: |clock| Timeout::new(clock, Duration::from_secs(3_600));
    limit: |_: Arc<dyn Clock>| Limit::new(1);
    trace: Trace::new;
    redact: |_: Arc<dyn Clock>| Redact::default();
}

fn calls() -> Arc<AtomicU64> {
    Arc::default()
}

fn broken(kind: ErrorKind) -> Result<()> {
    Err(Error::new(kind, "Store::load", "the line went dead"))
}

/// Goes around calls that answer `kind`, and tells how many there were and what came of them.
async fn tried(again: Again, kind: ErrorKind) -> (u64, Error) {
    let (calls, clock) = (calls(), VirtualClock::at(Timestamp(0)));
    let layer = Retry::new(Arc::new(clock), Attempts { max: 4, backoff_ms: 0 });
    let call = Call { op: "Store::load", build: None, cx: None, again, patience: Duration::ZERO };
    let work = || -> BoxFuture<'_, _> {
        calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { broken(kind) })
    };
    let error = layer.around(call, work).await.expect_err("every call fails");
    (calls.load(Ordering::Relaxed), error)
}

#[test]
fn only_what_may_pass_is_tried_again_and_only_where_that_is_safe() {
    kiln_conformance::run("retry", async {
        let (calls, error) = tried(Again::Safe, ErrorKind::Unavailable).await;
        assert_eq!((calls, error.retry_status()), (4, kiln::Status::Persistent));
        for (again, kind) in [
            (Again::Safe, ErrorKind::Denied),
            (Again::Unsure, ErrorKind::Unavailable),
            (Again::Never, ErrorKind::Unavailable),
        ] {
            let (calls, error) = tried(again, kind).await;
            assert_eq!((calls, error.kind()), (1, kind));
            assert_ne!(error.retry_status(), kiln::Status::Persistent);
        }
    });
}

#[test]
fn waits_double_and_a_step_that_is_to_stop_waits_no_longer() {
    kiln_conformance::run("retry waits", async {
        let clock = VirtualClock::at(Timestamp(0));
        let time = kiln_conformance::Time::from(clock.clone());
        let layer = Retry::new(Arc::new(clock), Attempts { max: 4, backoff_ms: 100 });
        let call = Call {
            op: "Registry::push",
            build: None,
            cx: None,
            again: Again::Safe,
            patience: Duration::ZERO,
        };
        let work = || -> BoxFuture<'_, _> { Box::pin(async { broken(ErrorKind::Unavailable) }) };
        time.hurry(layer.around(call, work)).await.unwrap_err();
        assert_eq!(time.now(), Timestamp(700));

        let step = TestStep::new();
        let call = Call { cx: Some(step.cx()), ..call };
        let mut pushed = pin!(layer.around(call, work));
        assert!(futures::poll!(&mut pushed).is_pending());
        step.cancel.cancel(StopReason::Cancel);
        assert_eq!(pushed.await.unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

#[test]
fn a_call_that_takes_too_long_ends_and_its_step_has_time_to_stop() {
    kiln_conformance::run("timeout", async {
        let clock = VirtualClock::at(Timestamp(0));
        let time = kiln_conformance::Time::from(clock.clone());
        let layer = Timeout::new(Arc::new(clock.clone()), Duration::from_secs(10))
            .grace(Duration::from_secs(2));
        let step = TestStep::new();
        let call = Call {
            op: "Source::fetch",
            build: None,
            cx: Some(step.cx()),
            again: Again::Safe,
            patience: Duration::ZERO,
        };
        let stopped = calls();
        // One that stops when it is told to, after a second of cleaning up.
        let work = |cx: kiln::StepCx| -> BoxFuture<'_, Result<()>> {
            let (stopped, clock) = (&stopped, &clock);
            Box::pin(async move {
                assert_eq!(cx.cancel.cancelled().await, StopReason::Timeout);
                clock.sleep(Duration::from_secs(1)).await;
                stopped.fetch_add(1, Ordering::Relaxed);
                Err(cx.cancelled("Source::fetch"))
            })
        };
        let error = time.hurry(layer.around_step(call, step.cx(), work)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!((time.now(), stopped.load(Ordering::Relaxed)), (Timestamp(11_000), 1));
        // The step itself was not told to stop: what comes after the call may go on.
        assert!(!step.cancel.is_cancelled());

        // One that does not listen is given up after the grace time.
        let deaf = |_| -> BoxFuture<'_, Result<()>> { Box::pin(std::future::pending()) };
        let error = time.hurry(layer.around_step(call, step.cx(), deaf)).await.unwrap_err();
        assert_eq!((error.kind(), time.now()), (ErrorKind::Timeout, Timestamp(23_000)));
        // One outside any step is dropped at once; its patience comes on top.
        let call = Call { cx: None, patience: Duration::from_secs(5), ..call };
        let never = || -> BoxFuture<'_, Result<()>> { Box::pin(std::future::pending()) };
        time.hurry(layer.around(call, never)).await.unwrap_err();
        assert_eq!(time.now(), Timestamp(38_000));
    });
}

/// A call that runs, until it is over or dropped.
struct Inside(Arc<AtomicU64>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn no_more_calls_run_than_the_limit_and_whoever_goes_away_takes_no_turn() {
    kiln_conformance::run("limit", async {
        let layer = &Limit::new(2);
        let (now, most) = (calls(), calls());
        let call = Call {
            op: "Registry::push",
            build: None,
            cx: None,
            again: Again::Safe,
            patience: Duration::ZERO,
        };
        let work = &|| -> BoxFuture<'_, Result<()>> {
            let (now, most) = (now.clone(), most.clone());
            Box::pin(async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let _inside = Inside(now);
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                Ok(())
            })
        };
        // Every second one is dropped while it waits or runs.
        let calls = (0..50).map(|i| async move {
            let call = layer.around(call, work);
            match i % 2 {
                0 => call.await.map(Some),
                _ => Ok(kiln_conformance::poll_times(call, i % 7).await.map(drop)),
            }
        });
        for ended in futures::future::join_all(calls).await {
            ended.unwrap();
        }
        assert_eq!(most.load(Ordering::Relaxed), 2);
        // Both turns are free again.
        let both = futures::future::join(layer.around(call, work), layer.around(call, work));
        let (a, b) = both.await;
        a.and(b).unwrap();
    });
}

#[test]
fn no_secret_of_a_step_is_in_an_error() {
    kiln_conformance::run("redact", async {
        let step = TestStep::new();
        step.secrets.conceal(&kiln::Secret::new("hunter2"));
        let ours = kiln::redact::Redactor::new();
        ours.add(&kiln::Secret::new("token-of-ours"));
        let layer = Redact::new(ours);
        let call = Call {
            op: "Registry::push",
            build: None,
            cx: Some(step.cx()),
            again: Again::Safe,
            patience: Duration::ZERO,
        };
        let work = || -> BoxFuture<'_, Result<()>> {
            Box::pin(async {
                Err(Error::new(ErrorKind::Denied, "Registry::push", "hunter2 is wrong")
                    .with("header", "token-of-ours")
                    .hint("Not hunter2.")
                    .source("said token-of-ours"))
            })
        };
        let error = layer.around(call, work).await.unwrap_err();
        let told = format!("{error:?} {:?}", error.hint_text());
        assert!(!told.contains("hunter2") && !told.contains("token-of-ours"), "{told}");
        assert_eq!(told.matches("***").count(), 4, "{told}");
    });
}
