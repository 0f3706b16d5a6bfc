//! Pipelines of `wercker.yml`.

use crate::{
    bench::{Bench, Said, real},
    host::Host,
};
use std::{fs, path::Path};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_file_is_checked_and_what_is_wrong_is_shown_with_its_line() {
    let (bench, dir) = (Bench::plain(), tempfile::tempdir().unwrap());
    let file = dir.path().join("wercker.yml");
    let none = bench.kiln(&["check", text(dir.path())]);
    assert!(none.code == 1 && none.err.contains("kiln detect"), "{none:?}");
    fs::write(&file, "box: busybox\nbuild:\n  steps:\n    - script:\n        code: make\n")
        .unwrap();
    let fine = bench.kiln(&["check", text(dir.path())]);
    assert!(fine.code == 0 && fine.err.contains("is fine"), "{fine:?}");
    // The mistake of the document itself.
    let broken = "box: busybox\nbuild:\n  steps:\n    - notify\n        token: hunter2\n";
    fs::write(&file, broken).unwrap();
    let said = bench.kiln(&["check", text(&file)]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert!(said.err.contains("wercker.yml:4:") && said.err.contains("notify:"), "{said:?}");
    assert!(said.err.contains('^') && said.err.contains("has 1 error"), "{said:?}");
    let json = bench.kiln(&["check", "--json", text(&file)]);
    let (lines, last) = (json.json(), json.last());
    assert_eq!((json.code, &lines[0]["type"]), (2, &"diagnostic".into()), "{json:?}");
    assert_eq!((&lines[0]["line"], &lines[0]["severity"]), (&4.into(), &"error".into()));
    assert_eq!((&last["type"], &last["errors"]), (&"checked".into(), &1.into()));
    let schema: serde_json::Value =
        serde_json::from_str(&bench.kiln(&["check", "--schema"]).out).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("2020-12"), "{schema}");
}

#[test]
fn a_first_file_is_written_that_is_fine_and_never_over_another_one() {
    let (bench, dir) = (Bench::plain(), tempfile::tempdir().unwrap());
    let (file, place) = (dir.path().join("wercker.yml"), text(dir.path()));
    fs::write(dir.path().join("package.json"), "{}").unwrap();
    let shown = bench.kiln(&["detect", "--print", place]);
    assert!(shown.code == 0 && shown.out.contains("npm") && !file.exists(), "{shown:?}");
    let wrote = bench.kiln(&["detect", place]);
    assert_eq!(wrote.code, 0, "{wrote:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), shown.out);
    assert_eq!(bench.kiln(&["check", place]).code, 0);
    fs::write(&file, "mine").unwrap();
    let kept = bench.kiln(&["detect", place]);
    assert!(kept.code == 1 && kept.err.contains("--force"), "{kept:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(bench.kiln(&["detect", "--force", "--json", place]).last()["type"], "detected");
    assert_eq!(fs::read_to_string(&file).unwrap(), shown.out);
}

/// A directory with a pipeline and a few files.
fn project(bench: &Bench, yml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let yml = format!("box: {}\n{yml}", bench.base());
    fs::write(dir.path().join("wercker.yml"), yml).unwrap();
    fs::write(dir.path().join("kept"), "from the source\n").unwrap();
    fs::write(dir.path().join("left.log"), "").unwrap();
    fs::write(dir.path().join(".werckerignore"), "*.log\n").unwrap();
    std::os::unix::fs::symlink("kept", dir.path().join("link")).unwrap();
    dir
}

const GREEN: &str = r#"build:
  steps:
    - script:
        name: look
        code: |
          cat kept
          test -L link && test ! -e left.log
          export SHARED=yes
          echo "level=$LEVEL token=$TOKEN"
    - script:
        name: make
        code: |
          echo "shared=$SHARED"
          echo made > "$WERCKER_OUTPUT_DIR/result"
          ln -s result "$WERCKER_OUTPUT_DIR/also"
          count=$(cat "$WERCKER_CACHE_DIR/count" 2>/dev/null || echo 0)
          echo $((count + 1)) > "$WERCKER_CACHE_DIR/count"
          echo "run $((count + 1))"
  after-steps:
    - script:
        name: tell
        code: echo "it $WERCKER_RESULT"
"#;

#[test]
fn a_pipeline_runs_keeps_its_output_and_its_cache() {
    let Some(bench) = real("a_pipeline_runs") else { return };
    let dir = project(&bench, GREEN);
    let place = text(dir.path());
    let run = |args: &[&str]| -> Said {
        let mut command = bench.command(args);
        command.env("X_LEVEL", "3").env("XXX_TOKEN", "hunter2");
        command.output().unwrap().into()
    };
    let first = run(&["run", "--artifacts", "--json", place]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(!first.out.contains("hunter2"), "a secret was shown");
    let result = first.last();
    assert_eq!(result["outcome"], "succeeded", "{result}");
    let kept = result["artifacts"].as_array().unwrap();
    assert!(kept.iter().any(|artifact| artifact["name"] == "output.tar"), "{result}");
    let id = result["build"].as_str().unwrap();
    let log = bench.kiln(&["logs", id]).out;
    for words in ["from the source", "level=3", "shared=yes", "run 1", "it passed"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let out = dir.path().join("output.tar");
    assert_eq!(bench.kiln(&["artifacts", id, "output.tar", "-o", text(&out)]).code, 0);
    let list = bench.run("tar", &["-tvf", text(&out)]).out;
    assert!(list.contains("result") && list.contains("also -> result"), "{list}");
    let again = run(&["run", "--progress", "plain", place]);
    assert!(again.code == 0 && again.err.contains("run 2"), "the cache was lost: {again:?}");
    let none = run(&["run", "--progress", "plain", "--no-cache", place]);
    assert!(none.code == 0 && none.err.contains("run 1"), "{none:?}");
    let upload = format!("source-{id}");
    assert!(!bench.home().join("artifacts").join(upload).exists(), "the copy of the source stayed");
    bench.assert_clean();
}

#[test]
fn a_pipeline_that_fails_is_red_and_tells_its_last_words() {
    let Some(bench) = real("a_pipeline_that_fails") else { return };
    let yml = r#"build:
  steps:
    - script:
        name: break
        code: |
          echo so it goes
          fail "nothing helps"
    - script:
        name: never
        code: echo never
  after-steps:
    - script:
        name: tell
        code: echo "$WERCKER_RESULT because $WERCKER_FAILED_STEP_DISPLAY_NAME ($WERCKER_FAILED_STEP_MESSAGE)"
"#;
    let dir = project(&bench, yml);
    let run = bench.kiln(&["run", "--progress", "plain", text(dir.path())]);
    assert_eq!(run.code, 1, "{run:?}");
    for words in
        ["so it goes", "failed because break (nothing helps)", "step `break`: nothing helps (the"]
    {
        assert!(run.err.contains(words), "{words}: {run:?}");
    }
    assert!(!run.err.contains("[never] never"), "{run:?}");
    fs::write(dir.path().join("wercker.yml"), "build:\n  steps:\n    - script\n").unwrap();
    let wrong = bench.kiln(&["run", text(dir.path())]);
    assert!(wrong.code == 1 && wrong.err.contains("wercker.yml:"), "{wrong:?}");
    bench.assert_clean();
}

#[test]
fn a_deploy_works_on_the_output_of_the_last_run() {
    let Some(bench) = real("a_deploy_works_on") else { return };
    let deploy = r#"deploy:
  steps:
    - script:
        name: send
        code: |
          test "$DEPLOY" = true && test ! -e kept
          echo "sending $(cat result)"
"#;
    let dir = project(&bench, &format!("{GREEN}{deploy}"));
    let place = text(dir.path());
    assert_eq!(bench.kiln(&["run", "--artifacts", place]).code, 0);
    let deployed = bench.kiln(&["wercker", "deploy", "--progress", "plain", place]);
    assert!(deployed.code == 0 && deployed.err.contains("sending made"), "{deployed:?}");
    assert!(deployed.err.contains("deploying the output of build"), "{deployed:?}");
    let none = bench.kiln(&["run", "--pipeline", "deploy", "--input", "nobody", place]);
    assert_eq!(none.code, 1, "{none:?}");
    bench.assert_clean();
}

#[test]
fn a_box_that_a_run_left_can_be_entered() {
    let Some(bench) = real("a_box_that_a_run_left") else { return };
    let dir = project(&bench, GREEN);
    let image = format!("kiln-test/{}", kiln_name(&bench));
    let none = bench.kiln(&["inspect"]);
    assert!(none.code == 2 && none.err.contains("--commit"), "{none:?}");
    let run = bench.kiln(&["run", "--commit", &image, "--tag", "a/b", text(dir.path())]);
    assert_eq!(run.code, 0, "{run:?}");
    for tag in ["latest", "green", "a_b"] {
        assert!(run.out.contains(&format!("{image}:{tag}\n")), "{tag}: {run:?}");
    }
    let seen = bench.kiln(&["inspect", "--", "cat", "kept"]);
    let tags = bench.docker(&["images", "--format", "{{.Tag}}", &image]).out;
    for tag in tags.lines() {
        bench.docker(&["rmi", "-f", &format!("{image}:{tag}")]);
    }
    assert_eq!((seen.code, seen.out.as_str()), (0, "from the source\n"), "{seen:?}");
}

/// A name for images that no other test has.
fn kiln_name(bench: &Bench) -> String {
    let name = bench.home().file_name().unwrap().to_string_lossy().to_lowercase();
    name.trim_matches('.').to_owned()
}

#[test]
fn a_server_runs_the_same_pipeline_of_a_directory_that_is_sent() {
    let Some(bench) = real("a_server_runs_the_same_pipeline") else { return };
    let Some(host) = Host::start("a_server_runs_the_same_pipeline") else { return };
    let dir = project(&bench, GREEN);
    let place = text(dir.path());
    let run = host.kiln(&bench, &["run", "--artifacts", "--progress", "plain", place]);
    assert_eq!(run.code, 0, "{run:?}");
    for words in ["from the source", "shared=yes", "it passed"] {
        assert!(run.err.contains(words), "{words}: {run:?}");
    }
    assert!(run.out.contains("output.tar"), "{run:?}");
    let refused = host.kiln(&bench, &["run", "--direct-mount", place]);
    assert!(refused.code == 2 && refused.err.contains("--direct-mount"), "{refused:?}");
    let yml = format!("box: {}\nbuild:\n  steps:\n    - x \"file:///etc\"\n", bench.base());
    fs::write(dir.path().join("wercker.yml"), yml).unwrap();
    let local = host.kiln(&bench, &["run", "--progress", "plain", place]);
    assert!(local.code == 1 && local.err.contains("read pipeline"), "{local:?}");
}

#[test]
fn flags_of_the_original_are_noted_or_refused() {
    let bench = Bench::plain();
    let dir = tempfile::tempdir().unwrap();
    let refused = bench.kiln(&["wercker", "build", "--store-s3", text(dir.path())]);
    assert!(refused.code == 2 && refused.err.contains("artifacts.url"), "{refused:?}");
    fs::write(dir.path().join("wercker.yml"), "box: a\nbuild:\n  steps: []\n").unwrap();
    let noted = bench.kiln(&["wercker", "--verbose", "check-config", text(dir.path())]);
    assert!(noted.err.contains("note: --verbose"), "{noted:?}");
    for gone in ["docker", "workflow", "runner", "step"] {
        let said = bench.kiln(&["wercker", gone, "x", "--y"]);
        assert!(said.code == 2 && said.err.contains("help: "), "{said:?}");
    }
    assert!(bench.kiln(&["wercker", "version", "--json"]).last()["number"].is_string());
}
