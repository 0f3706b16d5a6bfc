//! What is wrong with the recipe or the context.

use crate::bench::real;

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
fn a_context_above_its_limit_is_refused_before_it_is_sent() {
    let Some(bench) = real("a_context_above_its_limit") else { return };
    let big = "x".repeat(200_000);
    let dir = bench.context("FROM {base}\nCOPY . /\n", &[("big", &big), ("small", "y")]);
    let path = dir.path().to_str().unwrap();
    let run = bench.kiln(&["build", path, "--context-max", "100kB"]);
    assert!(run.code == 1 && run.err.contains("larger than its limit"), "{run:?}");
    assert!(run.err.contains("big (") && run.err.contains(".dockerignore"), "{run:?}");
    bench.assert_clean();
    std::fs::write(dir.path().join(".dockerignore"), "big\n").unwrap();
    let run = bench.kiln(&["build", path, "--context-max", "100kB", "--quiet"]);
    assert!(run.code == 0 && run.out.starts_with("sha256:"), "{run:?}");
}

#[test]
fn a_build_argument_without_a_value_comes_from_the_environment() {
    let Some(bench) = real("a_build_argument_without_a_value") else { return };
    let dir = bench.context("FROM {base}\nARG COLOUR=none\nRUN echo it is $COLOUR\n", &[]);
    let path = dir.path().to_str().unwrap();
    let args = ["build", path, "--no-cache", "--build-arg", "COLOUR"];
    let with = bench.command(&args).env("COLOUR", "green").output().unwrap();
    assert!(String::from_utf8_lossy(&with.stderr).contains("it is green"), "{with:?}");
    let without = bench.command(&args).env_remove("COLOUR").output().unwrap();
    assert!(String::from_utf8_lossy(&without.stderr).contains("it is none"), "{without:?}");
}

#[test]
fn a_secret_reaches_the_recipe_and_nothing_else() {
    let Some(bench) = real("a_secret_reaches_the_recipe") else { return };
    let recipe = "FROM {base}\nRUN --mount=type=secret,id=token echo it is $(cat /run/secrets/token)\n\
                  RUN ls /run/secrets 2>/dev/null || echo gone\n";
    let dir = bench.context(recipe, &[]);
    let path = dir.path().to_str().unwrap();
    let args = ["build", path, "--no-cache", "--json", "--secret", "id=token,env=KILN_TEST_TOKEN"];
    let run = bench.command(&args).env("KILN_TEST_TOKEN", "correct-horse").output().unwrap();
    let run = crate::bench::Said::from(run);
    assert!(run.code == 0 && run.out.contains("it is ***"), "{run:?}");
    assert!(!run.out.contains("correct-horse") && run.out.contains("gone"), "{run:?}");
    let absent = bench.kiln(&args);
    assert!(absent.code == 2 && absent.out.contains("KILN_TEST_TOKEN"), "{absent:?}");
}
