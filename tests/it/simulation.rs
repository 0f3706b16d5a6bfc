//! The whole engine with the memory adapters, on one thread, in virtual time: random plans, and
//! for each of them crashes, second drivers, cancels, timeouts, faults of machines and of stores.
//!
//! A seed says everything: `KILN_SIM_SEED=7 cargo test -p kiln-it simulation` plays one again.
//! `KILN_SIM_RUNS` says how many there are.

mod faults;
mod laws;
mod random;
mod world;

use kiln::Event;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

const RUNS: u64 = 100_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays a seed and checks every law; what went on is counted.
fn run(seed: u64, tally: &mut BTreeMap<&'static str, u64>) {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let ended = world::play(seed);
        laws::check(&ended);
        ended
    }));
    let ended = played.unwrap_or_else(|panic| {
        eprintln!("\nthis was KILN_SIM_SEED={seed}\n");
        resume_unwind(panic)
    });
    let mut count = |what, n: usize| *tally.entry(what).or_default() += n as u64;
    count("builds", 1);
    count("events", ended.journal.len());
    count("crashes", ended.crashes as usize);
    count("builds with two drivers at once", usize::from(ended.overlapped));
    for recorded in &ended.journal {
        match &recorded.event {
            Event::Finished { outcome } => count(outcome.word(), 1),
            Event::Adopted { kept, .. } => count("reattached", kept.len()),
            Event::StepTimedOut { .. } => count("step timeouts", 1),
            Event::StepDue { .. } => count("delayed attempts", 1),
            Event::CancelRequested { force: true, .. } => count("forced cancels", 1),
            Event::StepFailed { failure, .. } if failure.class == kiln::FailureClass::Infra => {
                count("infra failures", 1);
            }
            _ => {}
        }
    }
}

#[test]
fn every_law_holds_for_every_build() {
    if let Some(seed) = number("KILN_SIM_SEED") {
        return run(seed, &mut BTreeMap::new());
    }
    let runs = number("KILN_SIM_RUNS").unwrap_or(RUNS);
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    thread::scope(|scope| {
        let work = || {
            let mut tally = BTreeMap::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= runs {
                    return tally;
                }
                run(seed, &mut tally);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            for (what, n) in worker.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                *tally.entry(what).or_default() += n;
            }
        }
    });
    println!("{tally:#?}");
    // A simulation in which nothing happens proves nothing.
    if runs >= 10_000 {
        for what in [
            "crashes",
            "reattached",
            "succeeded",
            "failed",
            "errored",
            "timed_out",
            "cancelled",
            "forced cancels",
            "step timeouts",
            "delayed attempts",
            "infra failures",
        ] {
            assert!(tally.get(what).is_some_and(|n| *n > runs / 1000), "too few {what}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_build() {
    // Drivers name themselves at random; all else is the seed's.
    let story = |seed| {
        let ended = world::play(seed);
        let mut text = serde_json::to_string(&ended.journal).unwrap();
        for recorded in &ended.journal {
            if let Event::Adopted { driver, .. } = &recorded.event {
                text = text.replace(driver.as_str(), "driver");
            }
        }
        (text, ended.log)
    };
    for seed in 0..200 {
        assert!(story(seed) == story(seed), "seed {seed} gave two builds");
    }
}
