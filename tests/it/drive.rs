//! The engine with the memory adapters, as an embedder sees it.

use crate::machine::{Machine, boxed, commands, exec, image, is_started};
use async_trait::async_trait;
use kiln::{
    Attempts, BoxName, BoxSpec, BuildId, BuildSpec, Context, Engine, ErrorKind, Event, Image,
    ImageFrom, ImageRef, Op, Outcome, Owner, Phase, Plan, Recipe, RelPath, Result, Secret,
    SecretRef, Seq, Severity, SourceSpec, Step, StepCx, StepId, StepStatus, Submission, Target,
    Toolbox, Value, When,
    plan::{Command, CommitSpec, ContainerRef},
    port::{ArtifactKey, BuildFilter, Builder, Page},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

#[test]
fn a_plan_goes_from_source_to_published_image() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let (mut plan, main) = boxed();
        let source = SourceSpec::new("memory:code");
        let fetch = plan.step(Step::new("fetch", Op::Fetch { source, into: RelPath::root() }));
        let spec = BuildSpec::new(Recipe::Inline { text: "FROM scratch\nRUN true".into() })
            .context(Context::Workspace { path: RelPath::root() })
            .tag(image("app:1"));
        let built = plan.step(Step::build("build", spec).after(fetch));
        let from = || ImageFrom::Step(built);
        let push = Op::Push { image: from(), to: image("hub.test/app:1"), credentials: None };
        plan.step(Step::new("push", push).after(built));
        plan.step(Step::new("scan", Op::Scan { image: from(), gate: None }).after(built));
        let target = Target {
            publisher: "memory".into(),
            place: "cloud".into(),
            properties: BTreeMap::new(),
        };
        plan.step(Step::new("publish", Op::Publish { image: from(), target }).after(built));
        let test = plan.step(exec("test", "echo fine; warn careful").after(built));
        let spec = CommitSpec { tags: vec![image("snap:1")], ..CommitSpec::default() };
        let commit = Op::Commit { container: ContainerRef::Box(main), spec };
        plan.step(Step::new("commit", commit).after(test));
        let (path, name) = (RelPath::new("out/x").unwrap(), RelPath::new("x").unwrap());
        plan.step(Step::new("upload", Op::Upload { path: path.clone(), name: name.clone() }));
        let build = BuildId::new("whole").unwrap();
        m.workspaces.put(&build, path, "made");

        let submission = Submission::new(plan.finish().unwrap()).id(build.clone());
        m.engine.accept(submission).await.unwrap();
        assert_eq!(m.engine.drive(&build).await.unwrap(), Outcome::Succeeded);

        let view = m.engine.view(&build).await.unwrap();
        let output = |step: &str| view.step(step).unwrap().output.clone().unwrap();
        let image_id = output("build").image.unwrap().id;
        assert_eq!(output("fetch").revision, view.step("fetch").unwrap().pin);
        let pushed = m.registry.pushed();
        assert_eq!(pushed[0].0, "hub.test/app:1");
        assert_eq!(Some(&pushed[0].1), output("push").digest.as_ref());
        assert_eq!(output("scan").report.unwrap().scanner, "memory");
        assert_eq!(m.publisher.published().len(), 1);
        assert_ne!(output("commit").image.unwrap().id, image_id);
        let key = ArtifactKey { build: build.clone(), name };
        assert_eq!(output("upload").artifact.unwrap().bytes, 4);
        assert!(m.engine.tools().artifacts.get(&key).await.is_ok());
        let log = m.output(&build).await;
        for line in ["fine\n", "careful\n", "FROM scratch\n"] {
            assert!(log.contains(line), "{log}");
        }
        assert_eq!(m.host.boxes(), []);
        assert!(m.engine.tools().workspaces.list().await.unwrap().is_empty());
        let last = m.notifier.notices().pop().unwrap();
        assert!(matches!(last.event, Event::Finished { .. }));
        assert_eq!(last.build.steps_over, 8);
    });
}

#[test]
fn what_pushes_left_is_swept_and_only_after_builds_that_push() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        m.host.add_image(image("app:1"));
        for (id, pushes) in [("quiet", false), ("loud", true)] {
            let (mut plan, _) = boxed();
            plan.step(exec("test", "echo fine"));
            if pushes {
                let from = ImageFrom::Reference(image("app:1"));
                let to = image("hub.test/app:1");
                plan.step(Step::new("push", Op::Push { image: from, to, credentials: None }));
            }
            let build = BuildId::new(id).unwrap();
            let submission = Submission::new(plan.finish().unwrap()).id(build.clone());
            m.engine.accept(submission).await.unwrap();
            assert_eq!(m.engine.drive(&build).await.unwrap(), Outcome::Succeeded);
        }
        assert_eq!(m.registry.swept(), [BuildId::new("loud").unwrap()]);
        // Nothing is known of a build without a journal but that it left something.
        let unknown = BuildId::new("unknown").unwrap();
        m.engine.tools().workspaces.prepare(&unknown).await.unwrap();
        assert_eq!(m.engine.tidy().await.unwrap(), std::slice::from_ref(&unknown));
        assert_eq!(m.registry.swept().last(), Some(&unknown));
    });
}

#[test]
fn a_secret_is_used_and_never_shown() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let name = SecretRef::new("token").unwrap();
        m.secrets.set(Owner::local(), name.clone(), Secret::new("hunter2-hunter2"));
        let (mut plan, in_box) = boxed();
        let mut command = Command::new(["echo", "it", "is", "$TOKEN"]);
        command.env.insert("TOKEN".into(), Value::Secret(name));
        plan.step(Step::new("tell", Op::Exec { in_box, command }));
        let (build, outcome) = m.engine.run(plan.finish().unwrap()).await.unwrap();
        assert_eq!(outcome, Outcome::Succeeded);
        let log = m.output(&build).await;
        assert!(log.starts_with("it is ") && !log.contains("hunter2"), "{log}");
        let journal = m.engine.tools().store.load(&build, Seq::START).await.unwrap();
        assert!(!serde_json::to_string(&journal).unwrap().contains("hunter2"));
    });
}

#[test]
fn a_secret_of_another_owner_is_not_there() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let name = SecretRef::new("token").unwrap();
        m.secrets.set(Owner::new("ann").unwrap(), name.clone(), Secret::new("hunter2-hunter2"));
        let (mut plan, in_box) = boxed();
        let mut command = Command::new(["echo", "$TOKEN"]);
        command.env.insert("TOKEN".into(), Value::Secret(name));
        plan.step(Step::new("tell", Op::Exec { in_box, command }));
        let plan = plan.finish().unwrap();
        let submission = |who| Submission::new(plan.clone()).owner(Owner::new(who).unwrap());
        for (who, outcome) in
            [("ann", Outcome::Succeeded), ("bob", Outcome::Failed { step: StepId(0) })]
        {
            let build = m.engine.accept(submission(who)).await.unwrap();
            assert_eq!(m.engine.drive(&build).await.unwrap(), outcome, "{who}");
        }
    });
}

#[test]
fn a_failure_says_why_and_whose_it_is() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        m.host.miss_image(image("busybox"));
        let step = StepId(0);
        let (failed, errored) = (Outcome::Failed { step }, Outcome::Errored { step });
        let cases = [
            ("nothing", ErrorKind::NotFound, None, &failed),
            ("exit 3", ErrorKind::Failed, Some(3), &failed),
            ("no-such-word", ErrorKind::Failed, Some(127), &failed),
            ("fail-infra", ErrorKind::Unavailable, None, &errored),
        ];
        for (i, (script, kind, code, expected)) in cases.into_iter().enumerate() {
            let m = if i == 0 { &m } else { &Machine::new() };
            let (build, outcome) = m.engine.run(commands(&[script])).await.unwrap();
            assert_eq!(outcome, *expected, "{script}");
            let view = m.engine.view(&build).await.unwrap();
            let failure = view.step_views[0].failure.clone().unwrap();
            assert_eq!((failure.kind, failure.exit_code), (kind, code), "{script}");
            assert!(
                !failure.message.is_empty()
                    && (failure.class == kiln::FailureClass::Infra) == (i == 3)
            );
        }
    });
}

#[test]
fn a_scan_stops_at_its_gate() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        m.host.add_image(image("old:1"));
        let scan = |gate| {
            let image = ImageFrom::Reference(image("old:1"));
            Plan::new(vec![Step::new("scan", Op::Scan { image, gate })]).unwrap()
        };
        m.scanner.find(Severity::High, 2);
        m.scanner.find(Severity::Critical, 0);
        let stopped = Outcome::Failed { step: StepId(0) };
        for (gate, expected) in [
            (None, Outcome::Succeeded),
            (Some(Severity::Critical), Outcome::Succeeded),
            (Some(Severity::High), stopped.clone()),
            (Some(Severity::Low), stopped),
        ] {
            let (_, outcome) = m.engine.run(scan(gate)).await.unwrap();
            assert_eq!(outcome, expected, "{gate:?}");
        }
    });
}

#[test]
fn wrong_credentials_fail_a_push_for_good() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        m.host.add_image(image("app:1"));
        m.registry.protect(Secret::new("right-password"));
        let name = SecretRef::new("hub").unwrap();
        m.secrets.set(Owner::local(), name.clone(), Secret::new("wrong-password"));
        let push = || {
            let image = ImageFrom::Reference(image("app:1"));
            let to = ImageRef::parse("hub.test/app:1").unwrap();
            let op = Op::Push { image, to, credentials: Some(name.clone()) };
            Plan::new(vec![Step::new("push", op).attempts(Attempts::up_to(3))]).unwrap()
        };
        let (build, outcome) = m.engine.run(push()).await.unwrap();
        assert_eq!(outcome, Outcome::Failed { step: StepId(0) });
        let view = m.engine.view(&build).await.unwrap();
        assert_eq!(view.step_views[0].attempts, 1);
        assert_eq!(view.step_views[0].failure.clone().unwrap().kind, ErrorKind::Denied);
        m.secrets.set(Owner::local(), name.clone(), Secret::new("right-password"));
        assert_eq!(m.engine.run(push()).await.unwrap().1, Outcome::Succeeded);
    });
}

#[test]
fn cancel_stops_what_runs_and_after_steps_still_run() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let (mut plan, _) = boxed();
        let hang = plan.step(exec("hang", "echo before; hang"));
        plan.step(exec("never", "echo never").after(hang));
        plan.step(exec("tidy", "echo after").when(When::Always).after(hang));
        let build = m.engine.accept(Submission::new(plan.finish().unwrap())).await.unwrap();
        let stop = async {
            m.until(&build, is_started(0)).await;
            m.engine.cancel(&build, "enough", false).await.unwrap();
            m.engine.cancel(&build, "enough", false).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(m.engine.drive(&build), stop);
        assert_eq!(outcome.unwrap(), Outcome::Cancelled);
        assert_eq!(m.output(&build).await, "before\nafter\n");
        let view = m.engine.view(&build).await.unwrap();
        let words = ["hang", "never", "tidy"].map(|s| view.step(s).unwrap().status);
        assert_eq!(words, [StepStatus::Failed, StepStatus::Skipped, StepStatus::Succeeded]);
        assert_eq!(view.stop.unwrap().reason, "enough");
        let late = m.engine.cancel(&build, "too late", false).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Conflict);
    });
}

#[test]
fn a_step_that_takes_too_long_is_stopped() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let (mut plan, _) = boxed();
        plan.step(exec("hang", "hang").timeout(Duration::from_millis(30)));
        let (build, outcome) = m.engine.run(plan.finish().unwrap()).await.unwrap();
        assert_eq!(outcome, Outcome::Failed { step: StepId(0) });
        let failure = m.engine.view(&build).await.unwrap().step_views[0].failure.clone().unwrap();
        assert_eq!(failure.class, kiln::FailureClass::Timeout);

        let (mut plan, _) = boxed();
        plan.timeout(Duration::from_millis(30))
            .add_box(BoxName::new("other").unwrap(), BoxSpec::new(image("busybox")));
        plan.step(exec("hang", "hang"));
        assert_eq!(m.engine.run(plan.finish().unwrap()).await.unwrap().1, Outcome::TimedOut);
    });
}

#[test]
fn our_trouble_is_tried_again() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let (mut plan, _) = boxed();
        let attempts = Attempts { max: 3, backoff_ms: 20 };
        plan.step(exec("flaky", "echo try; flaky 2").attempts(attempts));
        let (build, outcome) = m.engine.run(plan.finish().unwrap()).await.unwrap();
        assert_eq!(outcome, Outcome::Succeeded);
        assert_eq!(m.output(&build).await, "try\ntry\ntry\n");
        let view = m.engine.view(&build).await.unwrap();
        assert_eq!((view.step_views[0].attempts, &view.step_views[0].failure), (3, &None));
    });
}

#[test]
fn what_cannot_be_accepted_is_refused() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let submission = || Submission::new(commands(&["true"])).id(BuildId::new("b").unwrap());
        m.engine.accept(submission()).await.unwrap();
        let twice = m.engine.accept(submission()).await.unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
        let spec = BuildSpec::new(Recipe::Dockerfile { path: None })
            .context(Context::Directory { path: "/etc".into() });
        let local = Plan::new(vec![Step::build("b", spec)]).unwrap();
        let refused = m.engine.accept(Submission::new(local)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied);
        let unknown = m.engine.drive(&BuildId::new("none").unwrap()).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        let open = m.engine.forget(&BuildId::new("b").unwrap()).await.unwrap_err();
        assert_eq!(open.kind(), ErrorKind::Conflict);
    });
}

#[test]
fn builds_are_listed_and_forgotten() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let submission = Submission::new(commands(&["true", "true"])).label("app", "x");
        let build = m.engine.accept(submission).await.unwrap();
        let page = Page { max: 9, after: None };
        let filter = BuildFilter {
            labels: BTreeMap::from([("app".to_owned(), "x".to_owned())]),
            ..BuildFilter::default()
        };
        let list = async || m.engine.list(&filter, &page).await.unwrap();
        assert_eq!(list().await[0].phase, Phase::Queued);
        assert_eq!(m.engine.unfinished().await.unwrap(), std::slice::from_ref(&build));
        m.engine.drive(&build).await.unwrap();
        assert_eq!(list().await[0].outcome, Some(Outcome::Succeeded));
        assert_eq!((list().await[0].steps, list().await[0].steps_over), (2, 2));
        assert_eq!(m.engine.unfinished().await.unwrap(), []);
        m.engine.forget(&build).await.unwrap();
        m.engine.forget(&build).await.unwrap();
        assert_eq!(list().await, []);
        assert_eq!(m.engine.view(&build).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

/// A builder whose first build never ends, and that notes what is asked of it.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Builder for Notes {
    fn accepts(&self, _: &Recipe) -> bool {
        true
    }

    async fn build(&self, cx: &StepCx, _: &BuildSpec) -> Result<Image> {
        self.0.lock().unwrap().push(format!("build {}", cx.key.attempt));
        if cx.key.attempt == 1 {
            std::future::pending::<()>().await;
        }
        Ok(Image { id: "sha256:1".into(), tags: vec![], bytes: 1 })
    }

    async fn sweep(&self, _: &BuildId) -> Result<()> {
        self.0.lock().unwrap().push("sweep".into());
        Ok(())
    }
}

#[test]
fn what_a_dead_driver_left_half_done_is_swept_before_the_next_attempt() {
    kiln_conformance::run("drive", async {
        let notes = Notes::default();
        let engine = Engine::builder().builder(notes.clone()).build();
        let spec = BuildSpec::new(Recipe::Inline { text: "FROM scratch".into() });
        let step = Step::build("b", spec).attempts(Attempts { max: 2, backoff_ms: 0 });
        let plan = Plan::new(vec![step]).unwrap();
        let build = engine.accept(Submission::new(plan)).await.unwrap();
        // Dropping the future is what a crash is.
        assert!(kiln_conformance::poll_times(engine.drive(&build), 5).await.is_none());
        assert_eq!(engine.drive(&build).await.unwrap(), Outcome::Succeeded);
        assert_eq!(*notes.0.lock().unwrap(), ["build 1", "sweep", "build 2", "sweep"]);
    });
}

#[test]
fn a_driver_redacts_what_the_one_before_gave_out() {
    kiln_conformance::run("drive", async {
        let m = Machine::new();
        let builders: Vec<Arc<dyn Builder>> = vec![Arc::new(Notes::default())];
        let tools = Toolbox { builders, ..Toolbox::clone(m.engine.tools()) };
        let engine = Engine::builder().toolbox(tools).build();
        let name = SecretRef::new("login").unwrap();
        m.secrets.set(Owner::local(), name.clone(), Secret::new("ann:hunter2-hunter2"));
        let (mut plan, in_box) = boxed();
        let mut command = Command::new(["true"]);
        command.env.insert("LOGIN".into(), Value::Secret(name));
        let used = plan.step(Step::new("use", Op::Exec { in_box, command }));
        let spec = BuildSpec::new(Recipe::Inline { text: "FROM scratch".into() });
        let attempts = Attempts { max: 2, backoff_ms: 0 };
        let built = plan.step(Step::build("b", spec).attempts(attempts).after(used));
        plan.step(exec("tell", "echo found ann:hunter2-hunter2 and hunter2-hunter2").after(built));
        let build = engine.accept(Submission::new(plan.finish().unwrap())).await.unwrap();
        assert!(kiln_conformance::poll_times(engine.drive(&build), 20).await.is_none());
        assert_eq!(engine.drive(&build).await.unwrap(), Outcome::Succeeded);
        assert_eq!(m.output(&build).await, "found *** and ***\n");
    });
}
