//! Stored forms against their golden files: what an older Kiln wrote is read for good, and what
//! this one writes is what the files say. `KILN_BLESS=1` writes them.

use kiln::{
    Actor, Attempts, BoxName, BoxSpec, BuildId, BuildSpec, CacheKey, CancelCause, Context, Digest,
    DriverId, Event, Fact, Failure, FailureClass, Image, ImageFrom, ImageRef, Mount, MountSource,
    NodeId, Op, Outcome, Output, Owner, Placement, Plan, Port, Protocol, Recipe, Recorded, RelPath,
    Report, Resources, Revision, SecretRef, Seq, ServiceSpec, SessionName, Severity, SourceSpec,
    Step, StepId, Target, Timestamp, Value, When,
    event::Artifact,
    plan::{Command, CommitSpec, ContainerRef},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, path::PathBuf, time::Duration};

/// Checks a value against its golden file, in both directions.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../golden").join(name);
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name} is written in another form than before");
    let read: T = serde_json::from_str(&golden).unwrap();
    assert_eq!(&read, value, "{name} is read as something else");
}

fn secret() -> SecretRef {
    SecretRef::new("registry/hub.test").unwrap()
}

fn image(name: &str) -> ImageRef {
    ImageRef::parse(name).unwrap()
}

fn map<K: Ord, V>(key: impl Into<K>, value: V) -> BTreeMap<K, V> {
    BTreeMap::from([(key.into(), value)])
}

fn digest() -> Digest {
    Digest::parse(&format!("sha256:{}", "0123456789abcdef".repeat(4))).unwrap()
}

fn resources() -> Resources {
    Resources { cpu_millis: 1_500, memory_bytes: 1 << 30 }
}

fn box_spec() -> BoxSpec {
    let path = RelPath::new("src").unwrap();
    let mount = |source, read_only| Mount { source, target: "/src".into(), read_only };
    let service = ServiceSpec {
        env: map("A", Value::Text("1".into())),
        argv: vec!["redis-server".into()],
        resources: resources(),
        credentials: Some(secret()),
        ..ServiceSpec::new(image(
            "redis@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ))
    };
    BoxSpec {
        env: map("TOKEN", Value::Secret(secret())),
        cwd: Some("/src".into()),
        mounts: vec![
            mount(MountSource::Workspace(path), false),
            mount(MountSource::Directory("/etc".into()), true),
        ],
        services: map(BoxName::new("db").unwrap(), service),
        resources: resources(),
        credentials: Some(secret()),
        ..BoxSpec::new(image("localhost:5000/ns/box:1"))
    }
}

fn build_specs() -> [BuildSpec; 3] {
    let whole = BuildSpec {
        tags: vec![image("app"), image("hub.test/app:1")],
        args: BTreeMap::from([
            ("A".to_owned(), Value::Text("1".into())),
            ("B".to_owned(), Value::Secret(secret())),
        ]),
        labels: map("why", "all of it".to_owned()),
        target: Some("stage".into()),
        no_cache: true,
        pull: true,
        platform: Some("linux/arm64".into()),
        credentials: map("hub.test", secret()),
        ..BuildSpec::new(Recipe::Dockerfile { path: Some("deploy/Dockerfile".into()) })
            .context(Context::Workspace { path: RelPath::new("a/b").unwrap() })
    };
    let inline = BuildSpec::new(Recipe::Inline { text: "FROM scratch\r\nCOPY . /\n".into() })
        .context(Context::Directory { path: "/home/ann/app".into() });
    let settings = serde_json::json!({"disk_gb": 4, "iso": null});
    let custom = BuildSpec::new(Recipe::Custom { name: "packer".into(), settings })
        .context(Context::Archive { path: "/tmp/context.tar".into() });
    [whole, inline, custom]
}

/// A plan with every field of every kind of step.
fn plan() -> Plan {
    let mut plan = Plan::builder();
    plan.timeout(Duration::from_secs(3_600));
    let main = BoxName::new("main").unwrap();
    plan.add_box(main.clone(), box_spec());
    let source = SourceSpec {
        reference: Some("main".into()),
        subdir: RelPath::new("sub").unwrap(),
        credentials: Some(secret()),
        submodules: true,
        ..SourceSpec::new("https://git.test/app.git")
    };
    let into = RelPath::new("src").unwrap();
    let fetch = plan.step(Step::new("fetch", Op::Fetch { source, into }));
    let [whole, inline, custom] = build_specs();
    let mut build = Step::build("build", whole).after(fetch).timeout(Duration::from_millis(1_500));
    build = build.attempts(Attempts { max: 3, backoff_ms: 250 }).on(Placement {
        node: Some(NodeId::new("node-1").unwrap()),
        labels: map("arch", "arm64".to_owned()),
        resources: resources(),
    });
    let built = plan.step(build);
    plan.step(Step::build("inline", inline));
    plan.step(Step::build("custom", custom));
    let command = Command {
        env: map("A", Value::Text("1".into())),
        cwd: Some("/".into()),
        user: Some("nobody".into()),
        ..Command::script("make test")
    };
    plan.step(Step::new("test", Op::Exec { in_box: main.clone(), command }).may_fail());
    let spec = CommitSpec {
        tags: vec![image("snap:1")],
        author: Some("Ann <ann@test>".into()),
        message: Some("as tested".into()),
        changes: vec!["CMD [\"sh\"]".into()],
        without_pause: true,
    };
    let container = ContainerRef::Container("0123abcd".into());
    plan.step(Step::new("commit", Op::Commit { container, spec }));
    let container = ContainerRef::Box(main);
    plan.step(Step::new("keep", Op::Commit { container, spec: CommitSpec::default() }));
    let from = || ImageFrom::Step(built);
    let to = image("hub.test/app:1");
    let push = Op::Push { image: from(), to, credentials: Some(secret()) };
    plan.step(Step::new("push", push).after(built));
    let known = ImageFrom::Reference(image("hub.test/old"));
    plan.step(Step::new("scan", Op::Scan { image: known, gate: Some(Severity::High) }));
    let target = Target {
        publisher: "glance".into(),
        place: "cloud-1".into(),
        properties: map("os_type", "linux".to_owned()),
    };
    plan.step(Step::new("publish", Op::Publish { image: from(), target }).after(built));
    let path = |p| RelPath::new(p).unwrap();
    let upload = Op::Upload { path: path("out/app.tar"), name: path("app.tar") };
    plan.step(Step::new("upload", upload).after(built).when(When::Failure));
    let upload = Op::Upload { path: path("log"), name: path("log") };
    plan.step(Step::new("report", upload).after(built).when(When::Always));
    plan.finish().unwrap()
}

/// Every kind of event with every field; not a journal that makes sense.
fn events() -> Vec<Event> {
    let (step, attempt) = (StepId(1), 2);
    let revision = Revision { id: "5f0c".into(), reference: Some("refs/heads/main".into()) };
    let output = Output {
        revision: Some(revision.clone()),
        image: Some(Image { id: "sha256:1".into(), tags: vec![image("app:1")], bytes: 42 }),
        digest: Some(digest()),
        report: Some(Report { scanner: "clair".into(), findings: map(Severity::Low, 3) }),
        artifact: Some(Artifact { key: "b/app.tar".into(), bytes: 9, digest: digest() }),
        plan: None,
        notes: map("cached", "3 of 4".to_owned()),
    };
    let small = Plan::new(vec![Step::build("b", build_specs()[1].clone())]).unwrap();
    let mut events = vec![
        Event::Accepted {
            plan: small,
            owner: Owner::new("ann").unwrap(),
            labels: map("repo", "app".to_owned()),
            by: None,
        },
        Event::Adopted {
            driver: DriverId::new("d-1").unwrap(),
            node: NodeId::new("node-1").unwrap(),
            kept: vec![step],
        },
        Event::StepStarted { step, attempt },
        Event::StepPinned { step, attempt, revision },
        Event::StepTimedOut { step, attempt },
        Event::StepSucceeded { step, attempt, output: Box::new(output) },
        Event::StepDue { step },
        Event::StepSkipped { step },
    ];
    for class in [
        FailureClass::User,
        FailureClass::Infra,
        FailureClass::Timeout,
        FailureClass::Cancelled,
        FailureClass::Lost,
    ] {
        let mut failure = Failure::new(class, "it said no");
        (failure.hint, failure.exit_code) = (Some("Say yes.".into()), Some(-9));
        events.push(Event::StepFailed { step, attempt, failure });
    }
    for cause in [CancelCause::Request, CancelCause::Timeout] {
        events.push(Event::CancelRequested {
            cause,
            reason: "enough".into(),
            force: true,
            by: None,
        });
    }
    for outcome in [
        Outcome::Succeeded,
        Outcome::Failed { step },
        Outcome::Errored { step },
        Outcome::TimedOut,
        Outcome::Cancelled,
    ] {
        events.push(Event::Finished { outcome });
    }
    events
}

#[test]
fn golden_plan() {
    let plan = plan();
    let text = serde_json::to_string_pretty(&plan).unwrap() + "\n";
    check("plan/v1.json", &plan, &text);
}

/// What came later: fields that a Kiln from before ignores, and verbs and values that it refuses.
fn later_plan() -> Plan {
    let mut plan = Plan::builder();
    let path = |p| RelPath::new(p).unwrap();
    let settings = serde_json::json!({"pipeline": "build"});
    let asks = Op::Plan { planner: "wercker".into(), path: path("source"), settings };
    let asked = plan.step(Step::new("plan", asks));
    let in_box = BoxName::new("main").unwrap();
    plan.add_box(in_box.clone(), BoxSpec::new(image("busybox")));
    let cache = CacheKey::new("github.com/ann/app").unwrap();
    let at = || "/pipeline/cache".to_owned();
    let bytes_max = 1 << 30;
    let restore =
        Op::Restore { cache: cache.clone(), in_box: in_box.clone(), path: at(), bytes_max };
    plan.step(Step::new("restore", restore).after(asked));
    let facts =
        [("MESSAGE", Fact::FailedMessage), ("RESULT", Fact::Result), ("STEP", Fact::FailedStep)];
    let env = facts.map(|(name, fact)| (name.to_owned(), Value::Fact(fact))).into();
    let command = Command { env, ..Command::script("make test") };
    let exec = Op::Exec { in_box: in_box.clone(), command };
    plan.step(Step::new("test", exec).quiet(Duration::from_secs(300)));
    let paths = vec!["/pipeline/output".to_owned(), "/pipeline/source".to_owned()];
    let (name, optional) = (path("output.tar"), true);
    let collect = Op::Collect { in_box: in_box.clone(), paths, name, bytes_max, optional };
    plan.step(Step::new("collect", collect));
    plan.step(Step::new("save", Op::Save { cache, in_box, path: at(), bytes_max }));
    plan.finish().unwrap()
}

#[test]
fn golden_plan_of_what_came_later() {
    let plan = later_plan();
    let text = serde_json::to_string_pretty(&plan).unwrap() + "\n";
    check("plan/v1-later.json", &plan, &text);
}

/// What came later in plans: a Kiln from before ignores it, and runs commands as if it were not there.
#[test]
fn golden_plan_of_sessions() {
    let mut plan = Plan::builder();
    let main = BoxName::new("main").unwrap();
    let service = ServiceSpec {
        entrypoint: vec!["/entry".into(), "-x".into()],
        ..ServiceSpec::new(image("db:1"))
    };
    let port = Port {
        protocol: Protocol::Udp,
        host_port: Some(5_353),
        address: Some("::1".parse().unwrap()),
        ..Port::new(53)
    };
    let spec = BoxSpec {
        user: Some("joe".into()),
        services: map(BoxName::new("db").unwrap(), service),
        link_env: true,
        ports: vec![Port::new(80), port],
        ..BoxSpec::new(image("box:1"))
    };
    plan.add_box(main.clone(), spec);
    let session = SessionName::new("main").unwrap();
    let command = Command::in_session(session, ". /mnt/step/run.sh\n").note("message", "/report/m");
    plan.step(Step::new("run", Op::Exec { in_box: main, command }));
    let plan = plan.finish().unwrap();
    let text = serde_json::to_string_pretty(&plan).unwrap() + "\n";
    check("plan/v1-sessions.json", &plan, &text);
}

#[test]
fn golden_journal() {
    let record = |(i, event)| {
        let (seq, at) = (Seq(i as u64 + 1), Timestamp(1_700_000_000_000 + i as u64));
        Recorded { seq, at, event }
    };
    let journal: Vec<Recorded> = events().into_iter().enumerate().map(record).collect();
    for recorded in &journal {
        // A kind that is in no file could change unseen.
        let name = serde_json::to_value(&recorded.event).unwrap()["event"].clone();
        assert!(name.is_string(), "{name}");
    }
    let text = serde_json::to_string_pretty(&journal).unwrap() + "\n";
    check("journal/v1.json", &journal, &text);
}

/// What came later: fields that a Kiln from before ignores, and a kind that it refuses.
#[test]
fn golden_journal_of_what_came_later() {
    let (owner, seq) = (Owner::new("ann").unwrap(), Seq);
    let actor =
        |name: Option<&str>| Some(Actor { owner: owner.clone(), name: name.map(str::to_owned) });
    let plan = Plan::new(vec![Step::build("b", build_specs()[1].clone())]).unwrap();
    let fragment = plan.clone();
    let (labels, by) = (BTreeMap::new(), actor(Some("ci")));
    let (cause, reason) = (CancelCause::Request, "enough".to_owned());
    let journal = vec![
        Event::Accepted { plan, owner: owner.clone(), labels, by },
        Event::StepReused {
            step: StepId(0),
            of: BuildId::new("former").unwrap(),
            output: Box::new(Output { digest: Some(digest()), ..Output::default() }),
            node: Some(NodeId::new("node-1").unwrap()),
        },
        Event::CancelRequested { cause, reason, force: false, by: actor(None) },
        Event::StepSucceeded {
            step: StepId(0),
            attempt: 1,
            output: Box::new(Output { plan: Some(fragment), ..Output::default() }),
        },
        Event::StepFailed {
            step: StepId(1),
            attempt: 1,
            failure: Failure {
                notes: map("message", "no gems".to_owned()),
                ..Failure::new(FailureClass::User, "the command ended with exit code 1")
            },
        },
    ];
    let record = |(i, event)| Recorded { seq: seq(i as u64 + 1), at: Timestamp(7), event };
    let journal: Vec<Recorded> = journal.into_iter().enumerate().map(record).collect();
    let text = serde_json::to_string_pretty(&journal).unwrap() + "\n";
    check("journal/v1-later.json", &journal, &text);
}

#[test]
fn golden_files_of_a_later_version_are_refused() {
    let later = serde_json::to_string(&plan()).unwrap().replace("\"version\":1", "\"version\":2");
    let refused = serde_json::from_str::<Plan>(&later).unwrap_err().to_string();
    assert!(refused.contains("version 2"), "{refused}");
    let strange = r#"{"seq":1,"at":0,"event":"exploded"}"#;
    assert!(serde_json::from_str::<Recorded>(strange).is_err());
}
