//! What the doctor finds.

use crate::bench::{Bench, real};
use std::os::unix::fs::PermissionsExt;

fn finding(bench: &Bench, what: &str, vars: &[(&str, &str)]) -> (i32, serde_json::Value) {
    let mut command = bench.command(&["doctor", "--json"]);
    let output = command.envs(vars.iter().copied()).output().unwrap();
    let said = crate::bench::Said::from(output);
    let found = said.json().into_iter().find(|f| f["what"] == what);
    (said.code, found.unwrap_or_else(|| panic!("nothing about {what}: {said:?}")))
}

#[test]
fn a_machine_without_an_engine_is_not_ready() {
    let bench = Bench::plain();
    let vars = [("DOCKER_HOST", "unix:///nonexistent.sock")];
    let (code, engine) = finding(&bench, "Docker engine", &vars);
    assert_eq!((code, &engine["verdict"]), (1, &"problem".into()));
    assert!(engine["remedy"].as_str().unwrap().contains("Start Docker"), "{engine}");
}

#[test]
fn a_machine_that_is_ready_is_told_so() {
    let Some(bench) = real("a_machine_that_is_ready") else { return };
    for what in ["Docker engine", "builder", "data directory", "clock", "git over SSH"] {
        let (code, found) = finding(&bench, what, &[]);
        assert_eq!((code, &found["verdict"]), (0, &"fine".into()), "{found}");
    }
}

#[test]
fn a_credential_helper_that_fails_is_named() {
    let bench = Bench::plain();
    let config = bench.home().join("docker");
    std::fs::create_dir(&config).unwrap();
    let text = r#"{"credHelpers":{"a.example":"kiln-test-fails","b.example":"kiln-test-absent"}}"#;
    std::fs::write(config.join("config.json"), text).unwrap();
    let helper = bench.home().join("docker-credential-kiln-test-fails");
    std::fs::write(&helper, "#!/bin/sh\nexit 5\n").unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", bench.home().display());
    let mut command = bench.command(&["doctor"]);
    let run = command.env("PATH", path).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(
        said.contains(
            "a.example: the credential helper docker-credential-kiln-test-fails fails (exit code 5)"
        ),
        "{said}"
    );
    assert!(said.contains("docker-credential-kiln-test-absent cannot be run"), "{said}");
}

#[test]
fn a_data_directory_open_to_others_is_a_warning() {
    let bench = Bench::plain();
    std::fs::set_permissions(bench.home(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (_, found) = finding(&bench, "data directory", &[]);
    assert_eq!(found["verdict"], "warning");
    assert!(found["remedy"].as_str().unwrap().contains("chmod 700"), "{found}");
}

#[test]
fn an_agent_that_is_gone_is_a_warning() {
    let bench = Bench::plain();
    let (_, found) = finding(&bench, "git over SSH", &[("SSH_AUTH_SOCK", "/nonexistent.agent")]);
    assert_eq!(found["verdict"], "warning", "{found}");
}

#[test]
fn a_git_helper_that_is_not_there_is_named() {
    let bench = Bench::plain();
    let config = bench.home().join(".gitconfig");
    std::fs::write(&config, "[credential]\n\thelper = kiln-test-absent --key secret\n").unwrap();
    let (code, found) = finding(&bench, "git logins", &[("GIT_CONFIG_NOSYSTEM", "1")]);
    assert_eq!((code, &found["verdict"]), (1, &"problem".into()), "{found}");
    let text = found["found"].as_str().unwrap();
    assert!(text.contains("kiln-test-absent") && !text.contains("secret"), "{found}");
    std::fs::write(&config, "").unwrap();
    std::fs::write(bench.home().join(".netrc"), "").unwrap();
    let (_, found) = finding(&bench, "git logins", &[("GIT_CONFIG_NOSYSTEM", "1")]);
    assert!(found["found"].as_str().unwrap().contains(".netrc"), "{found}");
}
