//! The command as a person runs it, on real parts: a Docker engine, registries, git repositories.
//!
//! Without `KILN_TEST_REAL=1` only what needs no engine runs. `cargo xtask test` sets it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and why it was skipped"
)]

mod bench;
mod control;
mod disk;
mod doctor;
mod history;
mod host;
mod input;
mod output;
mod recipe;
mod remote;
mod run;
mod screen;
mod there;

use bench::real;

#[test]
fn a_directory_becomes_an_image_that_is_listed_and_logged() {
    let Some(bench) = real("a_directory_becomes_an_image") else { return };
    let dir = bench.context("FROM {base}\nCOPY f /f\nRUN cat /f\n", &[("f", "from the context\n")]);
    let run = bench.kiln(&["build", dir.path().to_str().unwrap(), "--no-cache", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let result = run.last();
    assert_eq!(result["outcome"], "succeeded");
    let id = result["build"].as_str().unwrap();
    let logs = bench.kiln(&["logs", &id[..8]]);
    assert!(logs.out.contains("[build] from the context\n"), "{logs:?}");
    let view = bench.kiln(&["show", id, "--json"]).last();
    assert_eq!(view["step_views"][0]["output"]["image"]["id"], result["image"]["id"]);
    assert!(bench.kiln(&["builds"]).out.contains("succeeded"));
    bench.assert_clean();
}

#[test]
fn a_repository_becomes_an_image_in_a_registry() {
    let Some(bench) = real("a_repository_becomes_an_image") else { return };
    let Some(registry) = bench.registry("registry") else { return };
    let dir = bench.context("FROM {base}\nRUN echo pushed\n", &[]);
    bench.git(dir.path());
    let image = format!("{registry}/kiln-test/app:1");
    let url = format!("file://{}", dir.path().display());
    let run = bench.kiln(&["build", &url, "-t", &image, "--push", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let result = run.last();
    let digest = result["digests"][0].as_str().unwrap();
    assert_eq!(result["pushed"][0]["image"], image);
    let quiet = bench.kiln(&["build", &url, "-t", &image, "--push", "--quiet"]);
    let last = bench.kiln(&["builds", "--json", "-n", "1"]).last();
    let view = bench.kiln(&["show", last["build"].as_str().unwrap(), "--json"]).last();
    let again = view["step_views"][2]["output"]["digest"].as_str().unwrap();
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), (&*format!("{again}\n"), ""));
    let pulled = bench.docker(&["pull", "-q", &format!("{registry}/kiln-test/app@{digest}")]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    bench.assert_clean();
}

#[test]
fn a_killed_build_is_told_of_and_resumed_to_one_outcome() {
    kills("a_killed_build", 0..10);
}

#[test]
fn a_build_killed_at_other_moments_is_resumed_too() {
    kills("a_build_killed_at_other_moments", 10..20);
}

/// Kills builds at moments spread over their time; each is resumed to one end.
fn kills(test: &str, moments: std::ops::Range<u64>) {
    let Some(bench) = real(test) else { return };
    // Its own instructions: two builds that begin the same one wait for each other.
    let recipe = format!("FROM {{base}}\nCOPY big /big\nRUN sleep 0.5; echo slept {test}\n");
    let dir = bench.context(&recipe, &[]);
    std::fs::write(dir.path().join("big"), test.repeat(300_000)).unwrap();
    bench.git(dir.path());
    let url = format!("file://{}", dir.path().display());
    let label = bench.label();
    let run = ["run", "-d", "--label", &label, bench.base(), "/bin/sleep", "600"];
    let foreign = bench.docker(&run).out;
    let mut resumed = 0;
    for i in moments {
        bench.kill_after(&["build", "--no-cache", &url], bench::moment(i, 1500));
        let told = bench.kiln(&["builds"]).err;
        let run = bench.kiln(&["resume", "--json"]);
        assert!(matches!(run.code, 0 | 3), "kill {i}: {run:?}");
        resumed += usize::from(told.contains("interrupted"));
        let again = bench.kiln(&["resume"]);
        assert!(again.err.contains("nothing was interrupted"), "kill {i}: {again:?}");
        bench.assert_clean();
        bench.assert_last_log_is_whole();
    }
    let state = bench.docker(&["inspect", "-f", "{{.State.Running}}", foreign.trim()]).out;
    bench.docker(&["rm", "-f", foreign.trim()]);
    assert!(resumed > 2, "only {resumed} of 10 kills met a build at work");
    assert_eq!(state.trim(), "true", "a foreign container was touched");
}
