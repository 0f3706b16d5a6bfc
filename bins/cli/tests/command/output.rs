//! How the command speaks: streams, JSON, manual pages.

use crate::bench::{Bench, real};
use std::{fs::OpenOptions, io::Read, process::Stdio};

#[test]
fn completions_and_manual_pages_are_there() {
    let bench = Bench::plain();
    assert!(bench.kiln(&["completions", "bash"]).out.contains("_kiln"));
    assert!(bench.kiln(&["man"]).out.contains(".TH"));
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let bench = Bench::plain();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(bench.kiln(&["man", dir.path().to_str().unwrap()]).code, 0);
    for page in ["kiln.1", "kiln-build.1", "kiln-logs.1", "kiln-doctor.1"] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
    for shell in ["zsh", "fish"] {
        assert!(bench.kiln(&["completions", shell]).out.contains("build-arg"), "{shell}");
    }
}

#[test]
fn an_output_that_is_full_is_our_error() {
    let bench = Bench::plain();
    if !std::path::Path::new("/dev/full").exists() {
        println!("SKIPPED: an_output_that_is_full: kernel: there is no /dev/full");
        return;
    }
    for args in [&["doctor"][..], &["man"], &["completions", "bash"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = bench.command(args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(said.contains("standard output cannot be written"), "{args:?}: {said}");
        assert_ne!(run.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let Some(bench) = real("a_reader_that_goes_away") else { return };
    let dir = bench.context("FROM {base}\nRUN seq 1 20000\n", &[]);
    let run = bench.kiln(&["build", dir.path().to_str().unwrap(), "--no-cache", "--json"]);
    let id = run.last()["build"].as_str().unwrap().to_owned();
    let mut command = bench.command(&["logs", &id]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // As `head -c 10` does.
    child.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn quiet_is_the_id_alone_and_json_tells_of_failures() {
    let Some(bench) = real("quiet_is_the_id_alone") else { return };
    let dir = bench.context("FROM {base}\nRUN echo hello\n", &[]);
    let path = dir.path().to_str().unwrap();
    let run = bench.kiln(&["build", path, "--quiet"]);
    let id = run.out.strip_prefix("sha256:").and_then(|o| o.strip_suffix('\n'));
    assert!(run.code == 0 && run.err.is_empty() && id.is_some_and(|i| i.len() == 64), "{run:?}");
    let again = bench.kiln(&["build", path, "--json"]);
    assert_eq!((&again.last()["cached"], again.err.as_str()), (&1.into(), ""), "{again:?}");
    let dir = bench.context("FROM {base}\nRUN exit 7\n", &[]);
    let run = bench.kiln(&["build", dir.path().to_str().unwrap(), "--json"]);
    let result = run.last();
    assert_eq!((run.code, run.err.as_str(), &result["exit_code"]), (1, "", &1.into()));
    assert_eq!(result["errors"][0]["exit_code"], 7, "{run:?}");
    let absent = bench.kiln(&["show", "abc", "--json"]);
    assert_eq!((absent.code, &absent.last()["kind"]), (1, &"not_found".into()));
    assert_eq!(absent.err, "");
}

#[test]
fn colours_stay_off_where_no_terminal_is() {
    let Some(bench) = real("colours_stay_off") else { return };
    let dir = bench.context("FROM {base}\nRUN echo -e '\\033[31mred\\033[0m'\n", &[]);
    let path = dir.path().to_str().unwrap();
    let run = bench.kiln(&["build", path, "--no-cache"]);
    assert!(run.err.contains("[build] red\n") && !run.err.contains('\u{1b}'), "{run:?}");
    let mut command = bench.command(&["build", path, "--no-cache"]);
    let forced = command.env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(String::from_utf8_lossy(&forced.stderr).contains("\u{1b}[31mred"), "{forced:?}");
}
