//! Commands that are told to stop, or are killed.

use crate::parts::{Bench, bench, beside, busybox};
use kiln::{
    BoxSpec, Command, ErrorKind, StopReason,
    port::{BoxHandle, Runtime, Stream},
};
use kiln_conformance::step::TestStep;
use std::time::{Duration, Instant};

/// Starts a command, waits for its first output, tells it to stop, and returns how long that took.
async fn stop(
    bench: &Bench,
    step: &mut TestStep,
    in_box: &BoxHandle,
    command: Command,
) -> Duration {
    let (runtime, cx, in_box) = (bench.runtime.clone(), step.cx().clone(), in_box.clone());
    let running = tokio::spawn(async move { runtime.exec(&cx, &in_box, &command).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    step.cancel.cancel(StopReason::Cancel);
    let e = running.await.unwrap().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled, "{e:?}");
    begun.elapsed()
}

/// The command lines that run in the only box of a build.
async fn processes(bench: &Bench, step: &TestStep) -> Vec<String> {
    let id = bench.container(step).await;
    let top = bench.docker.top_processes(&id, None).await.unwrap();
    top.processes.into_iter().flatten().filter_map(|p| p.last().cloned()).collect()
}

async fn expect_none_of(bench: &Bench, step: &TestStep, what: &str) {
    let left = processes(bench, step).await;
    assert!(!left.iter().any(|p| p.starts_with(what)), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_command_started_is_stopped() {
    let Some(bench) = bench("whatever_a_command_started_is_stopped").await else { return };
    for user in ["0", "joe"] {
        let mut step = TestStep::new();
        let in_box = bench.start(&step, &bench.spec()).await;
        // One is deaf, one has left for a session of its own, one is a grandchild there.
        let script = "setsid sh -c 'sleep 601 & sleep 602' &
            (trap '' TERM; while :; do sleep 603; done) &
            echo first; sleep 604";
        let command = Command { user: Some(user.into()), ..Command::script(script) };
        let took = stop(&bench, &mut step, &in_box, command).await;
        assert!(took < Duration::from_secs(60), "{took:?}");
        expect_none_of(&bench, &step, "sleep 60").await;
        assert!(!bench.another().has(&step.key).await.unwrap());
        // And only that: another step of the box goes on.
        assert_eq!(bench.says(&step, &in_box, "echo on").await, "on\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_may_clean_up_and_say_so() {
    let Some(bench) = bench("a_command_may_clean_up_and_say_so").await else { return };
    let mut step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let script = "trap 'echo cleaned; exit 3' TERM; echo first; while :; do sleep 0.1; done";
    let took = stop(&bench, &mut step, &in_box, Command::script(script)).await;
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(step.bytes(Stream::Stdout).await, b"first\ncleaned\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_step_stops_and_its_neighbours_run_on() {
    let Some(bench) = bench("one_step_stops_and_its_neighbours_run_on").await else { return };
    let step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    // The key of step 1 is the beginning of the key of step 11.
    let (mut one, mut eleven) = (beside(&step, 1), beside(&step, 11));
    let (runtime, cx, there) = (bench.runtime.clone(), eleven.cx().clone(), in_box.clone());
    let command = Command::script("echo first; sleep 4; echo last");
    let running = tokio::spawn(async move { runtime.exec(&cx, &there, &command).await });
    stop(&bench, &mut one, &in_box, Command::script("echo first; sleep 605")).await;
    expect_none_of(&bench, &step, "sleep 605").await;
    running.await.unwrap().unwrap();
    assert_eq!(eleven.bytes(Stream::Stdout).await, b"first\nlast\n");
}

/// A driver that finds a cancelled build has to stop what its predecessor started.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_cancelled_before_stops_what_runs_already() {
    const TEST: &str = "a_step_that_was_cancelled_before_stops_what_runs_already";
    let Some(bench) = bench(TEST).await else { return };
    let mut step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let command = Command::script("echo first; sleep 606");
    let (first, cx, there, sent) =
        (bench.another(), step.cx().clone(), in_box.clone(), command.clone());
    let running = tokio::spawn(async move { first.exec(&cx, &there, &sent).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    let next = beside(&step, 0);
    next.cancel.cancel(StopReason::Cancel);
    let e = bench.runtime.exec(next.cx(), &in_box, &command).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    expect_none_of(&bench, &step, "sleep 606").await;
    // Whoever asks for it again is told the same, and nothing runs.
    let again = beside(&step, 0);
    let e = bench.runtime.exec(again.cx(), &in_box, &command).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled, "{e:?}");
    expect_none_of(&bench, &step, "sleep 606").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_killed_with_its_followers_is_an_error() {
    const TEST: &str = "a_command_that_is_killed_with_its_followers_is_an_error";
    let Some(bench) = bench(TEST).await else { return };
    let step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let kill = Command::script("kill -9 -1");
    let e = bench.runtime.exec(step.cx(), &in_box, &kill).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
    assert!(!bench.runtime.has(&step.key).await.unwrap());
    let again = bench.runtime.exec(beside(&step, 0).cx(), &in_box, &kill).await.unwrap_err();
    assert!(matches!(again.kind(), ErrorKind::Unavailable | ErrorKind::Cancelled), "{again:?}");
    assert_eq!(bench.says(&step, &in_box, "echo on").await, "on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_was_restarted_has_lost_its_commands() {
    const TEST: &str = "a_box_that_was_restarted_has_lost_its_commands";
    let Some(bench) = bench(TEST).await else { return };
    let image = bench.image(busybox(), &["USER joe"]).await;
    let mut step = TestStep::new();
    let spec = BoxSpec::new(image);
    let in_box = bench.start(&step, &spec).await;
    let command = Command::script("echo first; sleep 607");
    let (first, cx, there) = (bench.another(), step.cx().clone(), in_box.clone());
    let sent = command.clone();
    let running = tokio::spawn(async move { first.exec(&cx, &there, &sent).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let id = bench.container(&step).await;
    bench.docker.kill_container(&id, None).await.unwrap();
    let e = running.await.unwrap().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
    assert!(!bench.runtime.has(&step.key).await.unwrap());
    let gone = bench.runtime.exec(beside(&step, 1).cx(), &in_box, &command).await;
    assert!(gone.is_err(), "{gone:?}");
    let in_box = bench.start(&step, &spec).await;
    assert!(!bench.runtime.has(&step.key).await.unwrap());
    let e = bench.runtime.exec(beside(&step, 0).cx(), &in_box, &command).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
    assert_eq!(bench.says(&step, &in_box, "echo on").await, "on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_collects_orphans() {
    let Some(bench) = bench("a_box_collects_orphans").await else { return };
    let step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let script = "for i in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 0.5
        for i in $(seq 50); do
            left=$(cat /proc/[0-9]*/stat | grep -c ' Z '); [ $left = 0 ] && break; sleep 0.1
        done
        echo $left";
    assert_eq!(bench.says(&step, &in_box, script).await, "0\n");
}
