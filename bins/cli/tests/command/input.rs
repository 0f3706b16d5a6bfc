//! Wrong use, and what comes on standard input.

use crate::bench::{Bench, real};

#[test]
fn wrong_use_ends_with_2_and_changes_nothing() {
    let bench = Bench::plain();
    for (args, said) in [
        (&["build", "-t", "Foo", "."][..], "did you mean `foo`"),
        (&["build", "/nonexistent"], "there is no directory"),
        (&["build", "--push"], "--tag"),
        (&["build", "ext::sh -c id", "."], "unexpected argument"),
        (&["biuld"], "build"),
        (&["build", "-H", "ssh://x", "."], "ssh is not supported"),
    ] {
        let run = bench.kiln(args);
        assert!(run.code == 2 && run.err.contains(said), "{args:?}: {run:?}");
    }
    assert_eq!(bench.kiln(&["builds", "--json"]).out, "");
    assert_eq!(bench.kiln(&["show", "abc"]).code, 1);
}

#[test]
fn what_was_meant_is_suggested() {
    let bench = Bench::plain();
    let run = bench.kiln(&["build", "--buildarg", "A=1"]);
    assert!(run.code == 2 && run.err.contains("--build-arg"), "{run:?}");
    let run = bench.kiln(&["prnue", "--json"]);
    let error = run.last();
    assert_eq!((run.code, &error["type"], run.err.as_str()), (2, &"error".into(), ""));
    assert!(error["help"].as_str().unwrap().contains("prune"), "{run:?}");
    assert!(!error["message"].as_str().unwrap().contains('\n'), "{run:?}");
    for args in [&["logs", "x", "--since", "noon"][..], &["builds", "--status", "fine"]] {
        assert_eq!(bench.kiln(args).code, 2, "{args:?}");
    }
}

#[test]
fn standard_input_is_a_dockerfile_or_an_archive() {
    let Some(bench) = real("standard_input_is_a_dockerfile") else { return };
    let recipe = format!("FROM {}\nCOPY f /f\nRUN cat /f\n", bench.base());
    let dir = bench.context("FROM scratch\n", &[("f", "of the context\n")]);
    let path = dir.path().to_str().unwrap();
    let args = ["build", "--no-cache", "--file", "-", path];
    let run = bench.kiln_with(&args, recipe.as_bytes());
    assert!(run.code == 0 && run.err.contains("of the context"), "{run:?}");
    std::fs::write(dir.path().join("Dockerfile"), &recipe).unwrap();
    let tar = std::process::Command::new("tar").args(["-C", path, "-c", "."]).output().unwrap();
    let run = bench.kiln_with(&["build", "--no-cache", "-"], &tar.stdout);
    assert!(run.code == 0 && run.err.contains("of the context"), "{run:?}");
    let run = bench.kiln_with(&["build", "--no-cache", "-"], b"FROM scratch\nCOPY f /\n");
    assert!(run.code == 1, "{run:?}");
    bench.assert_clean();
}

#[test]
fn standard_input_that_cannot_be_used_is_wrong_use() {
    let bench = Bench::plain();
    for (args, input, said) in [
        (&["build", "-"][..], &b""[..], "is empty"),
        (&["build", "-f", "-", "-"], b"FROM x", "both the context and the Dockerfile"),
        (&["build", "-f", "x", "-"], b"FROM x", "--file has no place"),
        (&["build", "-"], b"\xff\xfe\xfd", "neither a Dockerfile nor"),
        (&["build", "-f", "-", "."], b"\xff\xfe\xfd", "is no Dockerfile"),
    ] {
        let run = bench.kiln_with(args, input);
        assert!(run.code == 2 && run.err.contains(said), "{args:?}: {run:?}");
    }
    assert_eq!(bench.kiln(&["builds", "--json"]).out, "");
    bench.assert_clean();
}

#[test]
fn a_name_given_twice_is_pushed_once() {
    let Some(bench) = real("a_name_given_twice") else { return };
    let Some(registry) = bench.registry("registry") else { return };
    let dir = bench.context("FROM {base}\nRUN echo twice\n", &[]);
    let image = format!("{registry}/kiln-test/twice");
    let (path, latest) = (dir.path().to_str().unwrap(), format!("{image}:latest"));
    let run = bench.kiln(&["build", path, "-t", &image, "-t", &latest, "--push", "--json"]);
    assert!(run.code == 0 && run.last()["pushed"].as_array().unwrap().len() == 1, "{run:?}");
}
