//! A build that is to stop stops, on every way, and nothing of it goes on.

use crate::bench::{Bench, WAYS};
use kiln::{ErrorKind, StopReason, port::Builder};
use kiln_conformance::{run, step::TestStep};
use std::{
    fs,
    time::{Duration, Instant},
};

/// The processes of this host whose command line holds a word.
fn running(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|p| fs::read(p.path().join("cmdline")).ok());
    let with = |line: &Vec<u8>| {
        line.starts_with(b"busybox\0sleep") && String::from_utf8_lossy(line).contains(word)
    };
    lines.filter(with).count()
}

async fn until(what: &str, test: impl Fn() -> bool) {
    let began = Instant::now();
    while !test() {
        assert!(began.elapsed() < Duration::from_secs(120), "never {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_cancelled_build_ends_before_its_step_and_leaves_nothing() {
    for (i, way) in WAYS.into_iter().enumerate() {
        run("a_cancelled_build", async {
            let Some(bench) = Bench::new("a_cancelled_build", way).await else { return };
            let word = format!("{}", 91_000 + u32::try_from(i).unwrap() + std::process::id() * 10);
            let spec = bench.on_busybox(&format!("RUN busybox sleep {word}"));
            let step = TestStep::new();
            let (cancel, builder) = (step.cancel.clone(), bench.builder.clone());
            let cx = step.cx().clone();
            let build = tokio::spawn(async move { builder.build(&cx, &spec).await });
            until("ran", || running(&word) > 0).await;
            let began = Instant::now();
            cancel.cancel(StopReason::Cancel);
            let e = build.await.unwrap().unwrap_err();
            let took = began.elapsed();
            assert_eq!(e.kind(), ErrorKind::Cancelled, "{e:?}");
            assert!(took < Duration::from_secs(60), "{way:?} took {took:?}");
            until("ended", || running(&word) == 0).await;
            println!("{way:?}: returned in {took:?}, gone in {:?}", began.elapsed());
            let all = || bench.engine("GET", "/containers/json?all=1").1;
            until("removed", || !all().contains(&word)).await;
        });
    }
}
