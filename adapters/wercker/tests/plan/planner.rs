//! What the planner does in a workspace.

use async_trait::async_trait;
use kiln::{
    Digest, Error, ErrorKind, Op, Plan, RelPath, Result, Revision, SourceSpec, StopReason,
    port::{PlanAsk, PlanSources, Planner},
};
use kiln_conformance::step::TestStep;
use kiln_wercker::{
    plan::{PLANNER, WerckerPlanner},
    step::{Found, MemoryRegistry, StepCache},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Sources that are lists of files, by their URLs.
#[derive(Debug)]
struct Sources {
    workspace: PathBuf,
    archives: BTreeMap<String, Vec<(&'static str, &'static str)>>,
    fetched: Mutex<Vec<String>>,
}

#[async_trait]
impl PlanSources for Sources {
    async fn fetch(&self, source: &SourceSpec, into: &RelPath) -> Result<Revision> {
        let files = self.archives.get(&source.url).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "Source::fetch", "there is no such archive")
        })?;
        let into = into.below(&self.workspace);
        for (name, text) in files {
            put(&into, name, text);
        }
        let asked = source.reference.clone().unwrap_or_default();
        self.fetched.lock().expect("one thread").push(format!("{} {asked}", source.url));
        Ok(Revision { id: "sha256:1".into(), reference: None })
    }
}

fn put(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("a file");
}

/// A workspace with a source, a registry, and a planner.
struct Desk {
    root: tempfile::TempDir,
    registry: Arc<MemoryRegistry>,
    planner: WerckerPlanner,
    sources: Sources,
}

impl Desk {
    fn new(file: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let workspace = root.path().join("workspace");
        put(&workspace, "source/wercker.yml", file);
        let registry = Arc::new(MemoryRegistry::default());
        let cache = StepCache::new(root.path().join("cache"));
        let planner = WerckerPlanner::new(registry.clone(), cache);
        let sources = Sources { workspace, archives: BTreeMap::new(), fetched: Mutex::default() };
        Self { root, registry, planner, sources }
    }

    fn workspace(&self) -> &Path {
        &self.sources.workspace
    }

    fn archive(&mut self, url: &str, files: &[(&'static str, &'static str)]) {
        self.sources.archives.insert(url.to_owned(), files.to_vec());
    }

    fn publish(&mut self, name: &str, version: &str, files: &[(&'static str, &'static str)]) {
        let tarball_url = format!("https://steps.test/{name}/{version}/tarball?sig=s3cret");
        self.archive(&format!("archive+{tarball_url}"), files);
        let sha256 = Some(Digest::parse(&format!("sha256:{}", "0".repeat(64))).expect("a digest"));
        let found = Found { version: version.into(), tarball_url, sha256 };
        self.registry.publish("wercker", name, found);
    }

    /// What comes out, and the log.
    fn ask_at(&self, path: &str, mut settings: Value, cancelled: bool) -> (Result<Plan>, String) {
        settings["version"] = json!(1);
        let mut told = None;
        kiln_conformance::run("plan", async {
            let mut step = TestStep::new().workspace(self.workspace());
            if cancelled {
                step.cx().cancel.cancel(StopReason::Cancel);
            }
            let path = RelPath::new(path).expect("a path");
            let ask = PlanAsk {
                planner: PLANNER,
                path: &path,
                settings: &settings,
                fetched: None,
                sources: &self.sources,
            };
            let answer = self.planner.plan(step.cx(), &ask).await;
            let log = step.text().await;
            told = Some((answer, log));
        });
        told.expect("it ran")
    }

    fn ask(&self, settings: Value) -> (Result<Plan>, String) {
        self.ask_at("source", settings, false)
    }

    fn refused(&self, settings: Value) -> Error {
        let (answer, log) = self.ask(settings);
        match answer {
            Err(e) => e,
            Ok(plan) => panic!("that is no plan: {plan:?}\n{log}"),
        }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.workspace().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

/// The texts that the shell of a plan evaluates.
fn texts(plan: &Plan) -> String {
    let text = |step: &kiln::Step| match &step.op {
        Op::Exec { command, .. } => command.argv.join(" "),
        _ => String::new(),
    };
    plan.steps().iter().map(text).collect()
}

const SCRIPT: &str = "box: busybox\nbuild:\n  steps:\n    - script: {code: echo hi}\n";
const S3SYNC: &str = "box: busybox\nbuild:\n  steps:\n    - s3sync: {key_id: $A}\n    - s3sync\n";

#[test]
fn the_code_of_a_script_is_a_file_of_the_workspace() {
    let desk = Desk::new(SCRIPT);
    let (answer, _) = desk.ask(json!({}));
    let plan = answer.expect("a plan");
    let names: Vec<_> = plan.steps().iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["setup environment", "script"]);
    assert_eq!(desk.read("steps/script-1/run.sh"), "set -e\necho hi\n");
    // Anybody in the box may read it, and write to the exchange.
    let mode = |path: &str| {
        let meta = fs::metadata(desk.workspace().join(path)).expect("it is there");
        meta.permissions().mode() & 0o777
    };
    assert_eq!([mode("steps/script-1/run.sh"), mode("steps/script-1")], [0o755; 2]);
    assert_eq!(mode("exchange"), 0o777);
}

#[test]
fn a_step_of_the_registry_is_fetched_once_and_kept() {
    let mut desk = Desk::new(S3SYNC);
    let manifest = "name: s3sync\nversion: 1.0.0\nproperties:\n  key_id: {type: string, required: false, default: d}\n";
    let files = [("run.sh", "true\n"), ("init.sh", "a=1\n"), ("wercker-step.yml", manifest)];
    desk.publish("s3sync", "1.2.0", &files);
    let (answer, log) = desk.ask(json!({}));
    let text = texts(&answer.expect("a plan"));
    assert!(text.contains("export WERCKER_S3SYNC_KEY_ID=\"${A-}\"\n"), "{text}");
    assert!(text.contains("export WERCKER_S3SYNC_KEY_ID='d'\n"), "{text}");
    assert!(text.contains(". '/pipeline/s3sync-2/init.sh'\n"), "{text}");
    let line = "step wercker/s3sync@1.2.0 from https://steps.test/s3sync/1.2.0/tarball\n";
    assert_eq!(log.matches("step wercker/s3sync").count(), 1, "{log}");
    assert!(log.contains(line), "{log}");
    assert_eq!(desk.read("steps/s3sync-1/run.sh"), "true\n");
    assert_eq!(desk.read("steps/s3sync-2/run.sh"), "true\n");
    // The next run finds it, and another attempt finds nothing of this one in its way.
    let (answer, log) = desk.ask(json!({}));
    answer.expect("a plan");
    assert!(log.contains("step wercker/s3sync@1.2.0 from the cache of steps\n"), "{log}");
    let fetched = desk.sources.fetched.lock().expect("one thread").join("\n");
    let digest = format!("sha256:{}", "0".repeat(64));
    let url = "archive+https://steps.test/s3sync/1.2.0/tarball?sig=s3cret";
    assert_eq!(fetched, format!("{url} {digest}"));
}

#[test]
fn a_newer_step_is_found_when_it_is_asked_for() {
    let mut desk = Desk::new(S3SYNC);
    desk.publish("s3sync", "1.0.0", &[("run.sh", "echo one\n")]);
    desk.ask(json!({})).0.expect("a plan");
    desk.publish("s3sync", "2.0.0", &[("run.sh", "echo two\n")]);
    desk.ask(json!({})).0.expect("a plan");
    assert_eq!(desk.read("steps/s3sync-1/run.sh"), "echo one\n");
    desk.ask(json!({"refresh": true})).0.expect("a plan");
    assert_eq!(desk.read("steps/s3sync-1/run.sh"), "echo two\n");
}

#[test]
fn a_step_that_is_nowhere_is_told_at_its_place() {
    let desk = Desk::new(S3SYNC);
    let error = desk.refused(json!({}));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("wercker.yml:4:7: step `s3sync`: "), "{text}");
    assert!(text.contains("and 1 more in the log"), "{text}");
    // A registry that is away is no mistake of the file.
    desk.registry.set_gone(true);
    let error = desk.refused(json!({}));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_step_may_be_an_archive_with_one_directory() {
    let mut desk = Desk::new(
        "box: busybox\nbuild:\n  steps:\n    - a/b \"https://h.test/b.tar.gz?s=x\": {k: v}\n",
    );
    desk.archive("archive+https://h.test/b.tar.gz?s=x", &[("b-1.0/run.sh", "true\n")]);
    let (answer, log) = desk.ask(json!({}));
    answer.expect("a plan");
    assert_eq!(desk.read("steps/b-1/run.sh"), "true\n");
    assert!(log.contains("step a/b from https://h.test/b.tar.gz\n"), "{log}");
}

#[test]
fn local_steps_have_to_be_allowed_twice_and_stay_inside() {
    let file = "box: busybox\nbuild:\n  steps:\n    - mine \"./steps/mine\"\n";
    let mut desk = Desk::new(file);
    put(desk.workspace(), "source/steps/mine/run.sh", "true\n");
    for settings in [json!({}), json!({"local_steps": true})] {
        let error = desk.refused(settings);
        assert!(error.to_string().contains("a step cannot be a directory here"), "{error}");
    }
    desk.planner = desk.planner.local_steps();
    desk.refused(json!({}));
    desk.ask(json!({"local_steps": true})).0.expect("a plan");
    assert_eq!(desk.read("steps/mine-1/run.sh"), "true\n");
    let link = desk.workspace().join("source/steps/mine/out");
    symlink("/etc/passwd", link).expect("a link");
    let error = desk.refused(json!({"local_steps": true}));
    assert!(error.to_string().contains("leads out of the step"), "{error}");
}

#[test]
fn a_step_without_code_and_a_manifest_that_is_wrong_are_told() {
    let mut desk = Desk::new(S3SYNC);
    desk.publish("s3sync", "1.0.0", &[("README", "hi")]);
    let error = desk.refused(json!({}));
    assert!(error.to_string().contains("neither a `run.sh` nor an `init.sh`"), "{error}");
    desk.publish("s3sync", "2.0.0", &[("run.sh", "true"), ("step.yml", "properties: [")]);
    let error = desk.refused(json!({"refresh": true}));
    assert!(error.to_string().contains("s3sync/step.yml:"), "{error}");
}

#[test]
fn the_file_is_looked_for_and_never_outside() {
    let desk = Desk::new(SCRIPT);
    let file = desk.workspace().join("source/wercker.yml");
    fs::rename(&file, desk.root.path().join("theirs.yml")).expect("it is there");
    let error = desk.refused(json!({}));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("ewok.yml, wercker.yml, .wercker.yml"), "{error}");
    symlink(desk.root.path().join("theirs.yml"), &file).expect("a link");
    assert_eq!(desk.refused(json!({})).kind(), ErrorKind::Denied);
    fs::remove_file(&file).expect("it is there");
    put(desk.workspace(), "source/ci/mine.yml", SCRIPT);
    desk.ask(json!({"file": "ci/mine.yml"})).0.expect("a plan");
    put(desk.workspace(), "source/.wercker.yml", SCRIPT);
    desk.ask(json!({})).0.expect("a plan");
    desk.ask_at("source/.wercker.yml", json!({}), false).0.expect("a plan");
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_place() {
    let desk = Desk::new("box: busybox\nbuild:\n  steps:\n    - hipchat\n        token: x\n");
    let error = desk.refused(json!({}));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("wercker.yml:4:"), "{error}");
    let error = Desk::new(SCRIPT).refused(json!({"pipeline": "biuld"}));
    assert!(error.to_string().contains("there is no pipeline `biuld`"), "{error}");
    let error = Desk::new(SCRIPT).refused(json!({"colour": 1}));
    assert!(error.to_string().contains("unknown field `colour`"), "{error}");
}

#[test]
fn a_deploy_works_on_the_output_of_a_build() {
    let mut desk = Desk::new(SCRIPT);
    desk.archive("upload:x", &[("output/app", "1"), ("output/lib/a", "2")]);
    let (answer, log) = desk.ask(json!({"input": {"url": "upload:x"}}));
    let plan = answer.expect("a plan");
    let mounts = &plan.boxes().values().next().expect("a box").mounts;
    let json = serde_json::to_string(mounts).expect("JSON");
    assert!(
        json.contains(r#"{"workspace":"input/output"},"target":"/mnt/wercker/source""#),
        "{json}"
    );
    assert!(texts(&plan).contains("script-1"), "{log}");
    // What the submitted plan has fetched is used as it is.
    desk.ask(json!({"input": {"url": "upload:fetched-before"}})).0.expect("a plan");
    let error = Desk::new(SCRIPT).refused(json!({"input": {"url": "upload:none"}}));
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_run_names_no_other_registry_and_has_a_source_of_its_own() {
    let desk = Desk::new(SCRIPT);
    let error = desk.refused(json!({"registry": "https://evil.test"}));
    assert_eq!(error.kind(), ErrorKind::Denied);
    let mut desk = Desk::new(SCRIPT);
    desk.planner = desk.planner.address("https://steps.test/");
    desk.ask(json!({"registry": "https://steps.test"})).0.expect("a plan");
    put(desk.workspace(), "wercker.yml", SCRIPT);
    put(desk.workspace(), "steps/wercker.yml", SCRIPT);
    for place in ["", "steps"] {
        let (answer, _) = desk.ask_at(place, json!({}), false);
        let error = answer.expect_err("that is where steps go");
        assert!(error.to_string().contains("in a directory of its own"), "{place}: {error}");
    }
    let (answer, _) = desk.ask_at("source", json!({}), true);
    assert_eq!(answer.expect_err("it was cancelled").kind(), ErrorKind::Cancelled);
}
