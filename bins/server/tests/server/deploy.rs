//! What is in `deploy/`, judged by the programs that it is for.

use super::run;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let below = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files(&entry.path()),
        false => vec![entry.path()],
    };
    fs::read_dir(dir).unwrap().flat_map(|entry| below(entry.unwrap())).collect()
}

/// Whether there is such a program; says so if there is none.
fn there_is(test: &str, program: &str, why: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let there = command.status().is_ok();
    if !there {
        println!("SKIPPED: {test}: {why}");
    }
    there
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn seconds_after(text: &str, key: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.trim().strip_prefix(key));
    let rest = rest.unwrap_or_else(|| panic!("no `{key}` in {text}"));
    rest.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn every_file_of_settings_is_one_that_the_server_takes() {
    let dir = tempfile::tempdir().unwrap();
    let all = files(&deploy());
    let all: Vec<_> = all.iter().filter(|p| p.ends_with("kiln.toml")).collect();
    assert_eq!(all.len(), 3, "{all:?}");
    for file in all {
        let checked = run(dir.path(), &["config", "check", "--config", file.to_str().unwrap()]);
        assert!(checked.status.success(), "{}: {}", file.display(), said(&checked));
    }
}

/// Each `KILN_…` of the chart's server has to be a setting: with one that is none the server would
/// start, and do without.
#[test]
fn every_variable_of_the_chart_is_a_setting() {
    let template = fs::read_to_string(deploy().join("helm/kiln/templates/server.yaml")).unwrap();
    let names: BTreeSet<_> =
        template.lines().filter_map(|l| l.trim().strip_prefix("- name: KILN_")).collect();
    assert!(names.len() > 4, "{names:?}");
    let dir = tempfile::tempdir().unwrap();
    for name in names.into_iter().filter(|name| *name != "CONFIG") {
        let mut show = super::command(dir.path());
        // The other half of TLS, without which one of them is no setting.
        show.env("KILN_TLS_KEY", "/k").env("KILN_TLS_CERTIFICATE", "/c");
        let before = show.args(["config", "show"]).output().unwrap();
        let value = match name {
            "ARTIFACTS_URL" => "s3://other",
            _ => "77",
        };
        let after = show.env(format!("KILN_{name}"), value).output().unwrap();
        assert!(after.status.success(), "{name}: {}", said(&after));
        assert_ne!(said(&before), said(&after), "nothing reads KILN_{name}");
    }
}

#[test]
fn the_compose_file_is_one() {
    let test = "the_compose_file_is_one";
    if !there_is(test, "docker-compose", "there is no docker-compose") {
        return;
    }
    // A copy, for `setup` to make its secrets in.
    let dir = tempfile::tempdir().unwrap();
    for file in
        files(&deploy().join("compose")).iter().filter(|f| f.parent().unwrap().ends_with("compose"))
    {
        fs::copy(file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    let setup = dir.path().join("setup");
    let secrets = || {
        let made = Command::new(&setup).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        let mut all = files(&dir.path().join("secrets"));
        all.sort();
        all.iter().map(|f| fs::read_to_string(f).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(secrets(), secrets(), "what is there stays");
    let mut compose = Command::new("docker-compose");
    compose.current_dir(dir.path()).env_remove("COMPOSE_FILE").args(["-f", "compose.yaml"]);
    let shown = compose.arg("config").output().unwrap();
    assert!(shown.status.success(), "{}", said(&shown));
    let shown = String::from_utf8(shown.stdout).unwrap();
    for service in ["server", "agent", "postgres", "s3"] {
        assert!(shown.contains(&format!("\n  {service}:\n")), "{service}: {shown}");
    }
}

#[test]
fn the_units_are_understood_and_wait_longer_than_a_drain() {
    let test = "the_units_are_understood_and_wait_longer_than_a_drain";
    let units = deploy().join("systemd");
    let read = |name: &str| fs::read_to_string(units.join(name)).unwrap();
    for (unit, settings, more) in
        [("kiln-server", "kiln.toml", 10), ("kiln-agent", "kiln-agent.toml", 35)]
    {
        let stop = seconds_after(&read(&format!("{unit}.service")), "TimeoutStopSec=");
        assert!(stop >= seconds_after(&read(settings), "drain_seconds = ") + more, "{unit}");
    }
    if !there_is(test, "systemd-analyze", "there is no systemd-analyze") {
        return;
    }
    // It looks for the programs, which nobody has installed here.
    let dir = tempfile::tempdir().unwrap();
    for name in ["kiln-server.service", "kiln-agent.service"] {
        let unit = dir.path().join(name);
        let bin = "/usr/local/bin/";
        let program = format!("{bin}{}", name.trim_end_matches(".service"));
        assert!(read(name).contains(&program));
        fs::write(&unit, read(name).replace(&program, env!("CARGO_BIN_EXE_kiln-server"))).unwrap();
        let judged = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
        // What it does not know is no error for it, and other units are not ours.
        let said = said(&judged);
        assert!(judged.status.success() && !said.contains(name), "{said}");
    }
}

#[test]
fn the_chart_renders() {
    if !there_is("the_chart_renders", "helm", "release: there is no package of helm") {
        return;
    }
    let chart = deploy().join("helm/kiln");
    let sets = ["server.tlsSecret=t,agent.caSecret=c", "agent.enabled=false"];
    for set in sets {
        for args in [&["lint", "--strict"][..], &["template", "kiln"]] {
            let mut helm = Command::new("helm");
            let done = helm.args(args).arg(&chart).args(["--set", set]).output().unwrap();
            assert!(done.status.success(), "{set}: {}", said(&done));
        }
    }
}
