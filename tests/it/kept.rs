//! What builds leave: artifacts of boxes, caches for later builds; and planners, on a pretended
//! machine.

use crate::machine::{Machine, boxed, exec, image, is_started};
use async_trait::async_trait;
use futures::{
    FutureExt, TryStreamExt,
    future::{Either, select},
};
use kiln::{
    Attempts, BoxName, BoxSpec, BuildId, CacheKey, Engine, ErrorKind, Fact, FailureClass, Op,
    Outcome, Owner, Plan, RelPath, Result, SourceSpec, Step, StepCx, StepId, Submission, Toolbox,
    Value, When,
    plan::Command,
    port::{ArtifactKey, PlanAsk, Planner},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

fn main_box() -> BoxName {
    BoxName::new("main").unwrap()
}

fn key() -> CacheKey {
    CacheKey::new("ann/app").unwrap()
}

fn collect(paths: &[&str], bytes_max: u64, optional: bool) -> Step {
    let paths = paths.iter().map(|p| (*p).to_owned()).collect();
    let name = RelPath::new("out.tar").unwrap();
    Step::new("collect", Op::Collect { in_box: main_box(), paths, name, bytes_max, optional })
}

fn save(bytes_max: u64) -> Step {
    let path = "/cache".to_owned();
    Step::new("save", Op::Save { cache: key(), in_box: main_box(), path, bytes_max })
}

fn restore(bytes_max: u64) -> Step {
    let path = "/back".to_owned();
    Step::new("restore", Op::Restore { cache: key(), in_box: main_box(), path, bytes_max })
}

/// One step in a box that has these files, of a build of an owner.
async fn run(m: &Machine, step: Step, owner: &str, files: &[(&str, &str)]) -> (BuildId, Outcome) {
    let (mut plan, in_box) = boxed();
    plan.step(step);
    let build = BuildId::random();
    for (path, bytes) in files {
        match path.strip_suffix('/') {
            Some(directory) => m.host.make_directory(&build, &in_box, directory),
            None => m.host.add_to_box(&build, &in_box, path, bytes.as_bytes().to_vec()),
        }
    }
    let submission = Submission::new(plan.finish().unwrap()).id(build.clone());
    m.engine.accept(submission.owner(Owner::new(owner).unwrap())).await.unwrap();
    let outcome = m.engine.drive(&build).await.unwrap();
    (build, outcome)
}

async fn artifact(m: &Machine, build: &BuildId, name: &str) -> Option<Vec<u8>> {
    let key = ArtifactKey { build: build.clone(), name: RelPath::new(name).unwrap() };
    let body = m.engine.tools().artifacts.get(&key).await.ok()?;
    Some(body.try_collect::<Vec<_>>().await.unwrap().concat())
}

/// The names in an archive.
fn names(archive: &[u8]) -> Vec<String> {
    let (mut at, mut names) = (0, Vec::new());
    while archive[at] != 0 {
        let text = |from: usize, len: usize| {
            let field = &archive[at + from..at + from + len];
            String::from_utf8_lossy(field.split(|b| *b == 0).next().unwrap()).into_owned()
        };
        names.push(text(0, 100));
        let size = usize::from_str_radix(&text(124, 12), 8).unwrap();
        at += 512 + size.next_multiple_of(512);
    }
    names
}

async fn failure(m: &Machine, build: &BuildId) -> kiln::Failure {
    m.engine.view(build).await.unwrap().step_views.remove(0).failure.unwrap()
}

#[test]
fn the_first_path_that_holds_anything_is_collected() {
    kiln_conformance::run("collect", async {
        let m = Machine::new();
        let files = [("/out/", ""), ("/src/a", "1"), ("/src/b/c", "2")];
        let (build, outcome) =
            run(&m, collect(&["/none", "/out", "/src"], 1 << 20, false), "ann", &files).await;
        assert_eq!(outcome, Outcome::Succeeded);
        let archive = artifact(&m, &build, "out.tar").await.unwrap();
        assert_eq!(names(&archive), ["src/", "src/a", "src/b/c"]);
        let view = m.engine.view(&build).await.unwrap();
        let told = view.step_views[0].output.clone().unwrap().artifact.unwrap();
        assert_eq!(told.bytes, archive.len() as u64);
        let (build, _) = run(&m, collect(&["/src/a"], 1 << 20, false), "ann", &files).await;
        assert_eq!(names(&artifact(&m, &build, "out.tar").await.unwrap()), ["a"]);
    });
}

#[test]
fn nothing_to_collect_is_a_failure_unless_it_may_be() {
    kiln_conformance::run("collect nothing", async {
        let m = Machine::new();
        let files = [("/out/", "")];
        let (build, outcome) = run(&m, collect(&["/out"], 99, false), "ann", &files).await;
        assert_eq!(outcome, Outcome::Failed { step: StepId(0) });
        assert_eq!(failure(&m, &build).await.kind, ErrorKind::NotFound);
        let (build, outcome) = run(&m, collect(&["/out", "/none"], 99, true), "ann", &files).await;
        assert_eq!(outcome, Outcome::Succeeded);
        let output = m.engine.view(&build).await.unwrap().step_views.remove(0).output.unwrap();
        assert_eq!(output.notes["artifact"], "none");
        assert_eq!(artifact(&m, &build, "out.tar").await, None);
        let (build, _) = run(&m, collect(&["/big"], 2_000, true), "ann", &[("/big", "x")]).await;
        let failed = failure(&m, &build).await;
        assert_eq!((failed.class, failed.kind), (FailureClass::User, ErrorKind::Failed));
        assert!(failed.message.contains("larger than it may be"), "{}", failed.message);
        assert_eq!(artifact(&m, &build, "out.tar").await, None);
    });
}

#[test]
fn a_cache_is_there_for_the_next_build_of_its_owner() {
    kiln_conformance::run("cache", async {
        let m = Machine::new();
        let note = async |build: &BuildId| {
            let output = m.engine.view(build).await.unwrap().step_views.remove(0).output;
            output.unwrap().notes["cache"].clone()
        };
        let (build, outcome) = run(&m, restore(1 << 20), "ann", &[("/back/", "")]).await;
        assert_eq!(outcome, Outcome::Succeeded);
        assert_eq!(note(&build).await, "none");
        let (_, outcome) = run(&m, save(1 << 20), "ann", &[("/cache/a/b", "kept")]).await;
        assert_eq!(outcome, Outcome::Succeeded);
        // It goes elsewhere than where it came from.
        let (mut plan, in_box) = boxed();
        let restored = plan.step(restore(1 << 20));
        plan.step(collect(&["/back"], 1 << 20, false).after(restored));
        let build = BuildId::random();
        m.host.make_directory(&build, &in_box, "/back");
        let owner = |o| Owner::new(o).unwrap();
        let submission = Submission::new(plan.finish().unwrap()).id(build.clone());
        m.engine.accept(submission.owner(owner("ann"))).await.unwrap();
        assert_eq!(m.engine.drive(&build).await.unwrap(), Outcome::Succeeded);
        let archive = artifact(&m, &build, "out.tar").await.unwrap();
        assert_eq!(names(&archive), ["back/", "back/a/b"]);
        assert!(archive.windows(4).any(|w| w == b"kept"));
        let (build, _) = run(&m, restore(1 << 20), "bob", &[("/back/", "")]).await;
        assert_eq!(note(&build).await, "none");
        // One that is too large changes nothing, in either direction.
        let (build, outcome) = run(&m, save(1_000), "ann", &[("/cache/z", "new")]).await;
        assert_eq!(outcome, Outcome::Failed { step: StepId(0) });
        assert_eq!(failure(&m, &build).await.class, FailureClass::User);
        let (build, _) = run(&m, restore(1_000), "ann", &[("/back/", "")]).await;
        assert!(failure(&m, &build).await.message.contains("the cache is larger"));
        let (build, _) = run(&m, restore(1 << 20), "ann", &[("/back/", "")]).await;
        assert_ne!(note(&build).await, "none");
    });
}

#[test]
fn no_build_has_the_id_of_a_cache() {
    kiln_conformance::run("reserved", async {
        let m = Machine::new();
        let (mut plan, _) = boxed();
        plan.step(exec("a", "true"));
        let id = key().build(&Owner::local());
        let refused = m.engine.accept(Submission::new(plan.finish().unwrap()).id(id)).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    });
}

/// Answers with what its settings say.
#[derive(Debug)]
struct Words;

#[async_trait]
impl Planner for Words {
    fn accepts(&self, planner: &str) -> bool {
        planner == "words"
    }

    async fn plan(&self, cx: &StepCx, ask: &PlanAsk<'_>) -> Result<Plan> {
        let (source, revision) = ask.fetched.expect("the step needs a fetch");
        cx.log.line(format!("{} at {}", source.url, &revision.id[..7]));
        if let Some(into) = ask.settings["fetch"].as_str() {
            let into = RelPath::new(into).unwrap();
            let url = ask.settings["url"].as_str().unwrap_or("memory:code");
            ask.sources.fetch(&SourceSpec::new(url), &into).await?;
        }
        Ok(serde_json::from_value(ask.settings["plan"].clone()).unwrap())
    }
}

fn asking(settings: serde_json::Value) -> Plan {
    let mut plan = Plan::builder();
    let (source, path) = (SourceSpec::new("memory:code"), RelPath::new("source").unwrap());
    let fetched = plan.step(Step::new("fetch", Op::Fetch { source, into: path.clone() }));
    let asks = Op::Plan { planner: "words".into(), path, settings };
    plan.step(Step::new("plan", asks).after(fetched));
    plan.finish().unwrap()
}

fn with_words(m: &Machine) -> Engine {
    let planners: Vec<Arc<dyn Planner>> = vec![Arc::new(Words)];
    Engine::builder().toolbox(Toolbox { planners, ..Toolbox::clone(m.engine.tools()) }).build()
}

#[test]
fn a_planner_says_what_follows_and_after_steps_know_how_it_went() {
    kiln_conformance::run("planner", async {
        let m = Machine::new();
        let (mut plan, in_box) = boxed();
        let tested = plan.step(exec("test", "echo testing; exit 3"));
        let mut command = Command::script("echo $RESULT $STEP $MESSAGE $NONE");
        for (name, fact) in
            [("RESULT", Fact::Result), ("STEP", Fact::FailedStep), ("MESSAGE", Fact::FailedMessage)]
        {
            command.env.insert(name.into(), Value::Fact(fact));
        }
        let told = Op::Exec { in_box: in_box.clone(), command: command.clone() };
        plan.step(Step::new("tell", told).after(tested).when(When::Always).may_fail());
        let fragment = plan.finish().unwrap();
        let engine = with_words(&m);
        let settings = serde_json::json!({"plan": fragment, "fetch": "steps/a"});
        let (build, outcome) = engine.run(asking(settings)).await.unwrap();
        assert_eq!(outcome, Outcome::Failed { step: StepId(2) });
        let output = m.output(&build).await;
        let message = "the command ended with exit code 3";
        assert!(output.contains(&format!("testing\nfailed test {message} \n")), "{output}");
        assert!(output.contains("memory:code at "), "{output}");
        let view = engine.view(&build).await.unwrap();
        let names: Vec<_> = view.step_views.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["fetch", "plan", "test", "tell"]);
        assert_eq!((view.summary.steps, view.summary.steps_over), (4, 4));
        // Where nothing failed there is nothing to name.
        let (mut plan, in_box) = boxed();
        plan.step(Step::new("tell", Op::Exec { in_box, command }));
        let settings = serde_json::json!({"plan": plan.finish().unwrap()});
        let (build, _) = engine.run(asking(settings)).await.unwrap();
        assert!(m.output(&build).await.contains("passed   \n"));
    });
}

/// Never answers the first time.
#[derive(Debug, Default)]
struct Slow(AtomicU32);

#[async_trait]
impl Planner for Slow {
    fn accepts(&self, planner: &str) -> bool {
        planner == "words"
    }

    async fn plan(&self, cx: &StepCx, ask: &PlanAsk<'_>) -> Result<Plan> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            cx.cancel.cancelled().await;
            return Err(cx.cancelled("Planner::plan"));
        }
        Words.plan(cx, ask).await
    }
}

#[test]
fn a_crash_before_the_answer_asks_again_and_one_after_it_does_not() {
    kiln_conformance::run("planner crash", async {
        let m = Machine::new();
        let slow = Arc::new(Slow::default());
        let planners: Vec<Arc<dyn Planner>> = vec![slow.clone()];
        let tools = Toolbox { planners, ..Toolbox::clone(m.engine.tools()) };
        let engine = Engine::builder().toolbox(tools).build();
        let (mut plan, _) = boxed();
        let hangs = plan.step(exec("hangs", "echo once; sleep 300").attempts(Attempts::up_to(3)));
        plan.step(exec("last", "echo last").after(hangs));
        let asked = asking(serde_json::json!({"plan": plan.finish().unwrap()}));
        let mut again = Plan::builder();
        for step in asked.steps() {
            again.step(step.clone().attempts(Attempts { max: 3, backoff_ms: 0 }));
        }
        let build = engine.accept(Submission::new(again.finish().unwrap())).await.unwrap();
        // The first driver dies while the planner thinks, the second while what it said runs.
        for step in [1, 2] {
            let driver = engine.drive(&build).boxed();
            let there = m.until(&build, is_started(step)).boxed();
            assert!(matches!(select(driver, there).await, Either::Right(_)), "it went on");
        }
        assert_eq!(engine.drive(&build).await.unwrap(), Outcome::Succeeded);
        assert_eq!(slow.0.load(Ordering::SeqCst), 2);
        let view = engine.view(&build).await.unwrap();
        let attempts: Vec<_> = view.step_views.iter().map(|s| s.attempts).collect();
        assert_eq!(attempts, [1, 2, 1, 1]);
        assert!(m.output(&build).await.ends_with("once\nlast\n"));
    });
}

#[test]
fn what_a_planner_may_not_is_refused() {
    kiln_conformance::run("refused", async {
        let m = Machine::new();
        let engine = with_words(&m);
        let fails = async |settings: serde_json::Value| {
            let (build, outcome) = engine.run(asking(settings)).await.unwrap();
            assert_eq!(outcome, Outcome::Failed { step: StepId(1) });
            let view = engine.view(&build).await.unwrap();
            view.step("plan").unwrap().failure.clone().unwrap()
        };
        let (mut plan, _) = boxed();
        plan.step(exec("a", "true"));
        let good = plan.finish().unwrap();
        for into in ["source", "source/x", "."] {
            let failed = fails(serde_json::json!({"plan": good, "fetch": into})).await;
            assert_eq!(failed.kind, ErrorKind::Invalid, "{into}: {}", failed.message);
        }
        let upload = serde_json::json!({"plan": good, "fetch": "x", "url": "upload:1"});
        assert_eq!(fails(upload).await.kind, ErrorKind::Denied);
        let mut plan = Plan::builder();
        let mut spec = BoxSpec::new(image("busybox"));
        let source = kiln::MountSource::Directory("/etc".into());
        spec.mounts.push(kiln::Mount { source, target: "/etc".into(), read_only: true });
        plan.add_box(main_box(), spec);
        plan.step(exec("a", "true"));
        let failed = fails(serde_json::json!({"plan": plan.finish().unwrap()})).await;
        assert_eq!(failed.kind, ErrorKind::Denied, "{}", failed.message);
        let container = kiln::ContainerRef::Container("web".into());
        let spec = kiln::CommitSpec::default();
        let foreign = Plan::new(vec![Step::new("c", Op::Commit { container, spec })]).unwrap();
        let failed = fails(serde_json::json!({"plan": foreign})).await;
        assert_eq!(failed.kind, ErrorKind::Denied, "{}", failed.message);
    });
}

#[test]
fn ports_that_other_machines_reach_are_refused_where_paths_of_the_host_are() {
    kiln_conformance::run("ports", async {
        let m = Machine::new();
        let local = Engine::builder().toolbox(Toolbox::clone(m.engine.tools()));
        let (engine, local) = (with_words(&m), local.allow_local_paths(true).build());
        let addresses = [
            (None, true),
            (Some("127.0.0.1"), true),
            (Some("127.8.8.8"), true),
            (Some("::1"), true),
            (Some("::ffff:127.0.0.1"), true),
            (Some("0.0.0.0"), false),
            (Some("::"), false),
            (Some("192.168.1.1"), false),
            (Some("::ffff:10.0.0.1"), false),
        ];
        for (address, allowed) in addresses {
            let mut plan = Plan::builder();
            let mut spec = BoxSpec::new(image("busybox"));
            let at = address.map(|a| a.parse().unwrap());
            spec.ports.push(kiln::Port::new(80));
            spec.ports.push(kiln::Port { address: at, ..kiln::Port::new(81) });
            plan.add_box(main_box(), spec);
            plan.step(exec("a", "true"));
            let plan = plan.finish().unwrap();
            local.accept(Submission::new(plan.clone())).await.unwrap();
            let accepted = engine.accept(Submission::new(plan.clone())).await;
            assert_eq!(accepted.is_ok(), allowed, "{address:?}");
            let settings = serde_json::json!({"plan": plan});
            let (build, outcome) = engine.run(asking(settings)).await.unwrap();
            assert_eq!(outcome == Outcome::Succeeded, allowed, "{address:?}");
            let Err(refused) = accepted else { continue };
            let view = engine.view(&build).await.unwrap();
            let failed = view.step("plan").unwrap().failure.clone().unwrap();
            assert_eq!((refused.kind(), failed.kind), (ErrorKind::Denied, ErrorKind::Denied));
            assert!(failed.message.contains("port"), "{}", failed.message);
        }
    });
}

#[test]
fn what_goes_quiet_is_stopped_and_what_talks_is_not() {
    kiln_conformance::run("quiet", async {
        let m = Machine::new();
        let (mut plan, _) = boxed();
        let limit = Duration::from_millis(1_500);
        plan.step(exec("hangs", "echo a; hang").quiet(Duration::from_millis(80)).may_fail());
        let words = "echo a; sleep 200; ".repeat(12);
        plan.step(exec("talks", &words).quiet(limit));
        let (build, outcome) = m.engine.run(plan.finish().unwrap()).await.unwrap();
        assert_eq!(outcome, Outcome::Succeeded);
        let failed = failure(&m, &build).await;
        assert_eq!(failed.class, FailureClass::Timeout);
        assert_eq!(failed.message, "the step printed nothing for 0.08 s and was stopped");
    });
}
