//! The command as a person runs it, on real parts: a Docker engine, registries, git repositories.
//!
//! Without `KILN_TEST_REAL=1` only what needs no engine runs. `cargo xtask test` sets it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and why it was skipped"
)]

mod bench;

use bench::{Bench, real};

#[test]
fn a_directory_becomes_an_image_that_is_listed_and_logged() {
    let Some(bench) = real("a_directory_becomes_an_image") else { return };
    let dir = bench.context("FROM {base}\nCOPY f /f\nRUN cat /f\n", &[("f", "from the context\n")]);
    let run = bench.kiln(&["build", dir.path().to_str().unwrap(), "--no-cache", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let result: serde_json::Value = serde_json::from_str(run.out.lines().last().unwrap()).unwrap();
    assert_eq!(result["outcome"], "succeeded");
    let id = result["build"].as_str().unwrap();
    let logs = bench.kiln(&["logs", &id[..8]]);
    assert!(logs.out.contains("[build] from the context\n"), "{logs:?}");
    let show = bench.kiln(&["show", id, "--json"]);
    let view: serde_json::Value = serde_json::from_str(&show.out).unwrap();
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
    let result: serde_json::Value = serde_json::from_str(run.out.lines().last().unwrap()).unwrap();
    let digest = result["digests"][0].as_str().unwrap();
    let pulled = bench.docker(&["pull", "-q", &format!("{registry}/kiln-test/app@{digest}")]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    bench.assert_clean();
}

#[test]
fn what_the_recipe_does_wrong_ends_with_1_and_is_explained() {
    let Some(bench) = real("what_the_recipe_does_wrong") else { return };
    for (dockerfile, said) in [
        ("FROM {base}\nRUN exit 7\n", "exit code: 7"),
        ("FROM {base}\nRUM x\n", "line 2: unknown instruction: RUM"),
        ("", "the Dockerfile is empty"),
        ("FROM localhost:1/nothing:1\n", "localhost:1"),
        ("FROM {base}\nCOPY absent /x\n", "absent"),
    ] {
        let dir = bench.context(dockerfile, &[]);
        let run = bench.kiln(&["build", dir.path().to_str().unwrap()]);
        assert!(matches!(run.code, 1 | 3) && run.err.contains(said), "{dockerfile:?}: {run:?}");
    }
    let empty = tempfile::tempdir().unwrap();
    std::fs::write(empty.path().join("Dockerfile.web"), "FROM scratch").unwrap();
    let run = bench.kiln(&["build", empty.path().to_str().unwrap()]);
    assert!(run.code == 1 && run.err.contains("There is Dockerfile.web"), "{run:?}");
    bench.assert_clean();
}

#[test]
fn a_link_out_of_the_context_brings_nothing_in() {
    let Some(bench) = real("a_link_out_of_the_context") else { return };
    let dir = bench.context("FROM {base}\nCOPY link /link\nRUN cat /link\n", &[]);
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).unwrap();
    let run = bench.kiln(&["build", dir.path().to_str().unwrap()]);
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap();
    assert!(!run.err.contains(&format!("[build] {hostname}")), "{run:?}");
    let out = bench.context("FROM {base}\n", &[]);
    std::fs::remove_file(out.path().join("Dockerfile")).unwrap();
    bench.git_with_link(out.path(), "Dockerfile", "/etc/passwd");
    let url = format!("file://{}", out.path().display());
    let run = bench.kiln(&["build", &url]);
    assert!(run.code == 1 && !run.err.contains("root:"), "{run:?}");
    bench.assert_clean();
}

#[test]
fn a_registry_that_refuses_is_told_with_a_remedy() {
    let Some(bench) = real("a_registry_that_refuses") else { return };
    let Some(registry) = bench.registry("registry-auth") else { return };
    let dir = bench.context("FROM {base}\n", &[]);
    let path = dir.path().to_str().unwrap();
    let image = format!("{registry}/kiln-test/private:1");
    let run = bench.kiln(&["build", path, "-t", &image, "--push"]);
    assert!(run.code == 1 && run.err.contains("docker login"), "{run:?}");
    let run = bench.kiln(&["build", path, "-t", "localhost:9/x:1", "--push"]);
    assert!(run.code == 3 && run.err.contains("help:"), "{run:?}");
    bench.assert_clean();
}

#[test]
fn repositories_that_cannot_be_fetched_are_explained() {
    let Some(bench) = real("repositories_that_cannot_be_fetched") else { return };
    let dir = bench.context("FROM {base}\n", &[]);
    bench.git(dir.path());
    let empty = tempfile::tempdir().unwrap();
    bench.run("git", &["init", "-q", empty.path().to_str().unwrap()]);
    for (url, said) in [
        ("file:///nonexistent/repo.git".to_owned(), "no such"),
        (format!("file://{}#absent", dir.path().display()), "absent"),
        (format!("file://{}", empty.path().display()), "empty"),
    ] {
        let run = bench.kiln(&["build", &url]);
        assert!(run.code == 1 && run.err.contains(said), "{url}: {run:?}");
    }
    bench.assert_clean();
}

#[test]
fn wrong_use_ends_with_2_and_changes_nothing() {
    let bench = Bench::plain();
    for (args, said) in [
        (&["build", "-t", "Foo", "."][..], "Did you mean `foo`?"),
        (&["build", "/nonexistent"], "there is no directory"),
        (&["build", "--push"], "--tag"),
        (&["build", "ext::sh -c id", "."], "unexpected argument"),
        (&["biuld"], "build"),
        (&["build", "-H", "ssh://x", "."], "ssh is not supported"),
    ] {
        let run = bench.kiln(args);
        assert!(run.code == 2 && run.err.contains(said), "{args:?}: {run:?}");
    }
    assert_eq!(bench.kiln(&["builds", "--json"]).out.trim(), "[]");
    assert_eq!(bench.kiln(&["show", "abc"]).code, 1);
}

#[test]
fn no_engine_is_our_error_with_a_remedy() {
    let bench = Bench::plain();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let run =
        bench.kiln(&["build", "-H", "unix:///nonexistent.sock", dir.path().to_str().unwrap()]);
    assert!(run.code == 3 && run.err.contains("Start Docker"), "{run:?}");
}

#[test]
fn completions_and_manual_pages_are_there() {
    let bench = Bench::plain();
    assert!(bench.kiln(&["completions", "bash"]).out.contains("_kiln"));
    assert!(bench.kiln(&["man"]).out.contains(".TH"));
}

#[test]
fn a_killed_build_is_told_of_and_resumed_to_one_outcome() {
    let Some(bench) = real("a_killed_build") else { return };
    let dir = bench.context("FROM {base}\nCOPY big /big\nRUN sleep 1; echo slept\n", &[]);
    std::fs::write(dir.path().join("big"), vec![7; 20 << 20]).unwrap();
    bench.git(dir.path());
    let url = format!("file://{}", dir.path().display());
    let foreign = bench.docker(&["run", "-d", bench.base(), "/bin/sleep", "600"]).out;
    let mut resumed = 0;
    for i in 0..20 {
        bench.kill_after(&["build", "--no-cache", &url], bench::moment(i, 2200));
        let told = bench.kiln(&["builds"]).err;
        let run = bench.kiln(&["resume", "--json"]);
        assert!(matches!(run.code, 0 | 3), "kill {i}: {run:?}");
        resumed += usize::from(told.contains("interrupted"));
        let again = bench.kiln(&["resume"]);
        assert!(again.err.contains("nothing was interrupted"), "kill {i}: {again:?}");
        bench.assert_clean();
        bench.assert_last_log_is_whole();
    }
    assert!(resumed > 5, "only {resumed} of 20 kills met a build at work");
    let state = bench.docker(&["inspect", "-f", "{{.State.Running}}", foreign.trim()]).out;
    bench.docker(&["rm", "-f", foreign.trim()]);
    assert_eq!(state.trim(), "true", "a foreign container was touched");
}
