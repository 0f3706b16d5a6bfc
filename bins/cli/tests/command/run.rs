//! Pipelines of `wercker.yml`.

use crate::bench::Bench;
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
