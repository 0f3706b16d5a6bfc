//! Pipelines of `wercker.yml`, from a source to images and artifacts, on a real Docker engine.

mod bench;

use bench::{Bench, image_tags};
use kiln::Outcome;
use serde_json::json;

/// The example of the document with its typo mended, and a stand-in for its images.
const DOCUMENT: &str = r#"
box: BASE
services:
    - id: BASE
      name: rethinkdb
      cmd: sleep 100000
build:
    steps:
        - bundle-install
        - script:
            name: middleman build
            code: |
              echo "hello world"
              [ "$BUNDLED" = "$WERCKER_CACHE_DIR" ]
              mkdir build
              echo site > build/index.html
              ln -s index.html build/link
              cp -RP build "$WERCKER_OUTPUT_DIR"
deploy:
    steps:
        - s3sync:
            key_id: $AWS_ACCESS_KEY_ID
            key_secret: $AWS_ACCESS_FOO
            source_dir: build/
    after-steps:
        - hipchat-notify:
            token: $HIPCHAT_TOKEN
            room_id: id
            from-name: name
        - script:
            name: last words
            code: echo "said $WERCKER_RESULT last"
"#;

const S3SYNC: &str = r#"
[ "$WERCKER_S3SYNC_KEY_ID" = 'it'\''s #1 $HOME `id`' ] || fail "that is another key"
[ "$(readlink "$WERCKER_S3SYNC_SOURCE_DIR/link")" = index.html ] || fail "no link"
[ "$DEPLOY$CI" = true ] || fail "that is no deploy"
[ "$WERCKER_DEPLOYTARGET_NAME" != broken ] || fail "the bucket is gone"
echo "sent $(cat "$WERCKER_S3SYNC_SOURCE_DIR/index.html")"
"#;

const HIPCHAT: &str = r#"
echo "$WERCKER_HIPCHAT_NOTIFY_FROM_NAME to $WERCKER_HIPCHAT_NOTIFY_ROOM_ID: $WERCKER_RESULT" \
  "${WERCKER_FAILED_STEP_DISPLAY_NAME-none}: ${WERCKER_FAILED_STEP_MESSAGE-none}"
"#;

fn bench(test: &str) -> Option<Bench> {
    let bench = Bench::new(test, DOCUMENT)?;
    let install = "export BUNDLED=\"$WERCKER_CACHE_DIR\"\n\
        if [ -e \"$WERCKER_CACHE_DIR/gems\" ]; then echo cached gems; else echo new gems; fi\n\
        echo gems > \"$WERCKER_CACHE_DIR/gems\"\n\
        [ -n \"$RETHINKDB_NAME\" ] || fail 'no service'\n\
        echo 2 gems > \"$WERCKER_REPORT_ARTIFACTS_DIR/list\"\n\
        echo gems=2 > \"$WERCKER_REPORT_NUMBERS_FILE\"\n\
        setMessage 'installed 2 gems'\n";
    bench.step("bundle-install", "1.2.0", install);
    bench.step("s3sync", "2.0.3", S3SYNC);
    bench.step("hipchat-notify", "1.0.0", HIPCHAT);
    bench.secret("aws", "it's #1 $HOME `id`");
    Some(bench)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_document_is_built_and_deployed() {
    let Some(bench) = bench("the example of the document") else { return };
    bench.serve().await;
    let repository = bench.repository("green");
    let settings = json!({
        "artifacts": true, "cache": {"key": "app"}, "run_id": "run1",
        "commit": {"repository": repository, "push": bench.has_registry()},
    });
    let built = bench.run(settings.clone()).await;
    assert_eq!(built.outcome, Outcome::Succeeded, "{}", built.log);
    for said in ["new gems\n", "hello world\n", "step wercker/bundle-install@1.2.0 from http://"] {
        assert!(built.log.contains(said), "{said}: {}", built.log);
    }
    assert_eq!(built.note("bundle-install", "message"), "installed 2 gems\n");
    assert_eq!(built.note("bundle-install", "numbers"), "gems=2\n");
    assert_eq!(image_tags(&repository), ["green", "latest", "run1"]);
    let names = bench.names(&built, "output.tar").await;
    assert_eq!(names, ["output/", "output/build/", "output/build/index.html", "output/build/link"]);
    let names = bench.names(&built, "step/bundle-install-1/output.tar").await;
    assert_eq!(names, ["artifacts/", "artifacts/list"]);
    assert_eq!(built.skipped(), bench.pushes(&["commit red", "run1", "latest", "red"]));

    // The next one has the cache, and its own image.
    let again = bench.run(settings).await;
    assert!(again.log.contains("cached gems\n"), "{}", again.log);

    let input = bench.upload_of(&built, "output.tar").await;
    let settings = |target: &str| {
        json!({
            "pipeline": "deploy", "deploy_target": target, "input": {"url": input},
            "env": {"AWS_ACCESS_KEY_ID": {"secret": "aws"}, "HIPCHAT_TOKEN": {"text": "t"}},
        })
    };
    let deployed = bench.run(settings("production")).await;
    assert_eq!(deployed.outcome, Outcome::Succeeded, "{}", deployed.log);
    for said in ["sent site\n", "name to id: passed none: none\n", "said passed last\n"] {
        assert!(deployed.log.contains(said), "{said}: {}", deployed.log);
    }
    assert!(!deployed.log.contains("it's #1"), "{}", deployed.log);

    let broken = bench.run(settings("broken")).await;
    assert!(matches!(broken.outcome, Outcome::Failed { .. }), "{:?}", broken.outcome);
    let told = "name to id: failed s3sync: the bucket is gone\n";
    for said in [told, "said failed last\n"] {
        assert!(broken.log.contains(said), "{said}: {}", broken.log);
    }
    assert_eq!(bench.left(), "", "nothing of the runs is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_leaves_a_red_image_and_its_cache() {
    let Some(bench) = bench("a run that fails") else { return };
    bench.serve().await;
    bench.step("bundle-install", "1.2.0", "echo x > \"$WERCKER_CACHE_DIR/x\"\nexport BUNDLED=no\n");
    let repository = bench.repository("red");
    let settings = json!({
        "artifacts": true, "cache": {"key": "app"}, "run_id": "run1",
        "commit": {"repository": repository, "push": bench.has_registry()},
    });
    let built = bench.run(settings).await;
    assert!(matches!(built.outcome, Outcome::Failed { .. }), "{:?}", built.outcome);
    assert_eq!(built.failed(), ["middleman build"], "{}", built.log);
    assert_eq!(image_tags(&repository), ["latest", "red", "run1"]);
    let mut skipped = bench.pushes(&["commit green", "run1", "latest", "green"]);
    skipped.insert(0, "store output".into());
    assert_eq!(built.skipped(), skipped);
    assert!(built.log.contains("hello world\n"), "{}", built.log);
    assert_eq!(bench.left(), "", "nothing of the run is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_make_images_of_the_box_of_the_output_and_by_a_dockerfile() {
    let Some(bench) = bench("steps that make images") else { return };
    bench.serve().await;
    let (one, two, three) =
        (bench.repository("box"), bench.repository("out"), bench.repository("web"));
    let file = format!(
        r#"
box: BASE
build:
    steps:
        - script:
            code: |
              mkdir -p "$WERCKER_OUTPUT_DIR/srv" app
              echo hi > "$WERCKER_OUTPUT_DIR/srv/index"
              printf 'FROM BASE\nARG A\nCOPY f /f\nRUN echo "built $A $(cat /f)"\n' > app/Web
              echo from the box > app/f; chmod 600 app/f
        - internal/docker-push: {{repository: "{one}", tag: "$WERCKER_GIT_BRANCH", env: "A=1", cmd: "sh -c ls"}}
        - internal/docker-scratch-push: {{repository: "{two}", tag: "a b", working-dir: /srv}}
        - internal/docker-build: {{image-name: "{three}", context: app, dockerfile: Web, build-args: "A=1", no-cache: true}}
"#
    );
    bench.file(&file);
    if !bench.has_registry() {
        return println!("SKIPPED: pushes: no registry runs");
    }
    let built = bench.run(json!({"git": {"branch": "main"}, "run_id": "run1"})).await;
    assert_eq!(built.outcome, Outcome::Succeeded, "{}", built.log);
    assert!(built.log.contains("built 1 from the box"), "{}", built.log);
    assert_eq!(image_tags(&one), ["main"]);
    assert_eq!(image_tags(&two), ["a", "b"]);
    assert_eq!(image_tags(&three), ["run1"]);
    assert_eq!(
        bench::inspect(&format!("{one}:main"), "{{.Config.Env}} {{.Config.Cmd}}"),
        "[A=1] [sh -c ls]"
    );
    assert_eq!(bench::inspect(&format!("{two}:a"), "{{.Config.WorkingDir}}"), "/srv");
    assert_eq!(bench.left(), "", "nothing of the run is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_watch_enter_the_box_and_see_files_change() {
    let Some(bench) = bench("steps for those who watch") else { return };
    bench.serve().await;
    bench.file(
        r#"
box: BASE
dev:
    steps:
        - script: {code: "export TOLD=yes"}
        - internal/shell: {cmd: "echo in the box $TOLD $(pwd)"}
        - internal/watch:
            reload: true
            code: |
              echo "it is $(cat state 2>/dev/null || echo first)"
              sleep 100000
"#,
    );
    let build = bench.accept(json!({"pipeline": "dev", "dev": true})).await;
    let watch = async {
        bench.until(&build, "waiting for a terminal").await;
        let said = bench.in_box(&["sh", "/report/shell-2/shell.sh"]);
        assert_eq!(said, "in the box yes /pipeline/source");
        bench.until(&build, "it is first\n").await;
        bench.in_box(&["sh", "-c", "echo second > /pipeline/source/state"]);
        bench.until(&build, "files changed: running again\n").await;
        bench.until(&build, "it is second\n").await;
        bench.cancel(&build).await;
    };
    let (run, ()) = tokio::join!(bench.drive(build.clone()), watch);
    assert_eq!(run.outcome, Outcome::Cancelled, "{}", run.log);
    assert_eq!(bench.left(), "", "nothing of the run is left");
}
