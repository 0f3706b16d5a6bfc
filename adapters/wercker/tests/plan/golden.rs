//! What becomes of pipelines, one case for each row of the reference.
//!
//! A case is a title, the settings (if there are any) as a line of JSON, the file, and what comes
//! out: the boxes and steps of the plan as JSON, or what is wrong.

use kiln::{RelPath, SecretRef, SourceSpec, Value};
use kiln_wercker::{
    file::{File, StepDef},
    plan::{Application, Cache, Commit, Git, Kind, Places, Recipe, Settings, StepCode, plan},
    step::{Run, StepRef, prelude},
};
use std::{fmt::Write as _, path::PathBuf};

fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wercker/plan")
}

fn codes(steps: &[StepDef], before: usize) -> Vec<StepCode> {
    let code = |(n, def): (usize, &StepDef)| {
        let step = StepRef::parse(&def.id).expect("a step");
        let safe_id = step.safe_id(before + n + 1);
        let def = def.clone();
        StepCode { def, step, safe_id, manifest: None, init: false, run: Run::Sourced }
    };
    steps.iter().enumerate().map(code).collect()
}

/// The plan of a file, or what is wrong.
fn told(settings: &Settings, text: &str) -> String {
    let parsed = File::parse("wercker.yml", text.as_bytes());
    let Some(file) = parsed.file else {
        return parsed.diagnostics.iter().map(|d| format!("{d}\n")).collect();
    };
    let target = settings.deploy_target.as_deref();
    let pipeline = match file.pipeline(&settings.pipeline, target) {
        Ok(pipeline) => pipeline,
        Err(diagnostic) => return format!("{diagnostic}\n"),
    };
    let path = |text: &str| RelPath::new(text).expect("a path");
    let places =
        Places { source: path("source"), steps: path("steps"), exchange: path("exchange") };
    let steps = codes(&pipeline.steps, 0);
    let after_steps = codes(&pipeline.after_steps, steps.len());
    let run_id = settings.run_id.clone().unwrap_or_else(|| "b1".into());
    let recipe = Recipe {
        source: &file.source,
        pipeline: &pipeline,
        settings,
        run_id: &run_id,
        steps: &steps,
        after_steps: &after_steps,
        places: &places,
    };
    let mut out = String::new();
    let found = match plan(&recipe) {
        Ok(planned) => {
            for (name, spec) in planned.plan.boxes() {
                let json = serde_json::to_string(spec).expect("a box is JSON");
                let _ = writeln!(out, "box {name}: {json}");
            }
            for (id, step) in planned.plan.ids().zip(planned.plan.steps()) {
                let mut json = serde_json::to_value(step).expect("a step is JSON");
                shorten(&mut json);
                let _ = writeln!(out, "{id}: {json}");
            }
            planned.warnings
        }
        Err(found) => found,
    };
    for diagnostic in found {
        let _ = writeln!(out, "{diagnostic}");
    }
    out
}

/// Leaves out what is the same in every plan: the helpers, and the variables of runs and steps.
fn shorten(value: &mut serde_json::Value) {
    for at in ["/command/argv/0", "/op/command/argv/0"] {
        if let Some(text) = value.pointer_mut(at) {
            let all = text.as_str().unwrap_or_default().replace(prelude(), "PRELUDE\n");
            let own = |line: &&str| {
                !line.starts_with("export WERCKER_STEP_")
                    && !line.starts_with("export WERCKER_REPORT_")
            };
            *text = all.split_inclusive('\n').filter(own).collect::<String>().into();
        }
    }
    for at in ["/command/env", "/op/command/env"] {
        if let Some(env) = value.pointer_mut(at).and_then(|e| e.as_object_mut()) {
            let own = |name: &str| {
                let ours = ["WERCKER", "TERM", "CI", "BUILD", "DEPLOY"].contains(&name);
                ours || name.starts_with("WERCKER_")
            };
            env.retain(|name, value| !own(name) || value.get("fact").is_some());
        }
    }
}

struct Case {
    title: String,
    settings: String,
    file: String,
    expected: String,
}

fn cases(text: &str) -> Vec<Case> {
    let parse = |case: &str| {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (file, expected) = rest.split_once("--->\n").expect("a mark before what comes out");
        let (settings, file) = match file.strip_prefix('{') {
            Some(_) => file.split_once('\n').expect("a line of settings"),
            None => ("", file),
        };
        let own = str::to_owned;
        Case {
            title: own(title),
            settings: own(settings),
            file: own(file),
            expected: own(expected),
        }
    };
    text.split("=== ").skip(1).map(parse).collect()
}

/// The settings of a case: their version goes without saying.
fn settings(text: &str) -> Settings {
    let mut value: serde_json::Value =
        serde_json::from_str(if text.is_empty() { "{}" } else { text }).expect("settings are JSON");
    value["version"] = 1.into();
    Settings::read(&value).expect("settings")
}

#[test]
fn golden_plans() {
    let bless = std::env::var_os("KILN_BLESS").is_some();
    let (mut wrong, mut count) = (String::new(), 0);
    for file in std::fs::read_dir(golden_dir()).expect("the golden files") {
        let path = file.expect("a golden file").path();
        let mut text = String::new();
        for case in cases(&std::fs::read_to_string(&path).expect("a golden file is text")) {
            let out = told(&settings(&case.settings), &case.file);
            let Case { title, settings, file, expected } = case;
            let line = if settings.is_empty() { settings } else { format!("{settings}\n") };
            let _ = write!(text, "=== {title}\n{line}{file}--->\n{out}");
            if out != expected {
                let _ = writeln!(
                    wrong,
                    "{}: {title}\nexpected:\n{expected}now:\n{out}",
                    path.display()
                );
            }
            count += 1;
        }
        if bless {
            std::fs::write(&path, text).expect("a golden file can be written");
        }
    }
    assert!(count > 40, "only {count} cases were found");
    assert!(bless || wrong.is_empty(), "{wrong}a change that is meant is written with --bless");
}

/// Settings that say everything there is to say.
fn everything() -> Settings {
    let some = |text: &str| Some(text.to_owned());
    let secret = |name: &str| SecretRef::new(name).expect("a name");
    Settings {
        pipeline: "deploy".into(),
        kind: Some(Kind::Deploy),
        deploy_target: some("production"),
        file: Some(RelPath::new("ci/wercker.yml").expect("a path")),
        run_id: some("run1"),
        run_url: some("https://kiln.test/builds/run1"),
        started_by: some("ann"),
        started: Some(1_700_000_000),
        application: Application {
            id: some("a1"),
            name: some("app"),
            owner: some("ann"),
            url: some("https://kiln.test/app"),
        },
        git: Git {
            domain: some("github.com"),
            owner: some("ann"),
            repository: some("app"),
            branch: some("main"),
            tag: some("v1"),
            commit: some("abc"),
        },
        env: [("A".to_owned(), "1".into()), ("B".to_owned(), Value::Secret(secret("b")))].into(),
        commit: Some(Commit {
            repository: "registry.test/app".into(),
            tags: vec!["v1".into()],
            message: some("m"),
            push: true,
        }),
        checkpoints: true,
        logins: [("registry.test".to_owned(), secret("login"))].into(),
        artifacts: true,
        cache: Some(Cache { key: "app".into(), bytes_max: Some(9) }),
        command_timeout_ms: Some(1),
        no_response_timeout_ms: Some(2),
        memory_bytes: Some(3),
        direct_mount: Some("/home/ann/app".into()),
        local_steps: true,
        volumes: true,
        expose_ports: true,
        dev: true,
        registry: some("https://steps.test"),
        refresh: true,
        input: Some(SourceSpec::new("upload:x")),
        last_build_box: some("app:run0"),
        ..Settings::default()
    }
}

#[test]
fn golden_settings() {
    let path = golden_dir().join("../settings/v1.json");
    let mut now = serde_json::to_string_pretty(&everything()).expect("settings are JSON");
    now.push('\n');
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&path, &now).expect("a golden file can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("the golden settings");
    assert_eq!(kept, now, "a stored form has a version: add a golden file for another one");
    let value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(Settings::read(&value), Ok(everything()));
}
