//! Stopping builds: by signals, and by another process.

use crate::bench::{Bench, Said, real};
use std::process::Child;

const SLOW: &str = "FROM {base}\nRUN echo begun; sleep 60\n";

/// Starts a slow build and waits until it runs; returns it with its id.
fn slow(bench: &Bench, dir: &std::path::Path) -> (Child, String) {
    let child = bench.start(&["build", dir.to_str().unwrap(), "--no-cache"]);
    let id = bench.wait_for_log("[build] begun");
    (child, id)
}

fn end(child: Child) -> Said {
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_signal_cancels_and_leaves_nothing() {
    let Some(bench) = real("a_signal_cancels") else { return };
    let dir = bench.context(SLOW, &[]);
    for signal in ["INT", "TERM"] {
        let (child, id) = slow(&bench, dir.path());
        bench.signal(&child, signal);
        let run = end(child);
        assert!(run.code == 130 && run.err.contains("stopping; once more"), "{run:?}");
        assert_eq!(bench.kiln(&["show", &id, "--json"]).last()["status"], "cancelled");
        bench.assert_clean();
        assert_eq!(bench.kiln(&["prune", "--all"]).code, 0);
    }
}

#[test]
fn a_build_is_cancelled_by_another_process() {
    let Some(bench) = real("a_build_is_cancelled") else { return };
    let dir = bench.context(SLOW, &[]);
    let (child, id) = slow(&bench, dir.path());
    assert_eq!(bench.kiln(&["builds", "--json"]).last()["status"], "running");
    let busy = bench.kiln(&["resume", &id]);
    assert!(busy.code == 1 && busy.err.contains("another kiln drives"), "{busy:?}");
    let asked = bench.kiln(&["cancel", &id[..6], "--json"]);
    assert_eq!((asked.code, &asked.last()["build"]), (0, &id.clone().into()), "{asked:?}");
    let run = end(child);
    assert!(run.code == 130 && run.err.contains("cancelled in"), "{run:?}");
    let late = bench.kiln(&["cancel", &id]);
    assert!(late.code == 1 && late.err.contains("over already"), "{late:?}");
    bench.assert_clean();
}

#[test]
fn a_signal_while_standard_input_is_read_ends_at_once() {
    let bench = Bench::plain();
    let mut command = bench.command(&["build", "-"]);
    command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    // It listens to signals from before it takes its lock.
    while bench.left_in("drivers").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    bench.signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
    assert_eq!(bench.kiln(&["builds", "--json"]).out, "");
    bench.assert_clean();
}

#[test]
fn a_log_is_followed_to_its_end() {
    let Some(bench) = real("a_log_is_followed") else { return };
    let dir = bench.context("FROM {base}\nRUN echo begun; sleep 1; echo at last\n", &[]);
    let (child, id) = slow(&bench, dir.path());
    let follow = bench.kiln(&["logs", "-f", &id]);
    assert!(follow.out.contains("[build] at last\n"), "{follow:?}");
    assert_eq!(follow.out, bench.kiln(&["logs", &id]).out);
    assert_eq!(end(child).code, 0);
}
