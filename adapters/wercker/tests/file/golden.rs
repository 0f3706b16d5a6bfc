//! What becomes of files, one case for each key, form and message.

use crate::cases::{bytes, golden_dir, split};
use kiln_wercker::file::{File, render};
use std::fmt::Write;

/// What is said of a text, and what is in it.
fn told(text: &[u8]) -> String {
    let parsed = File::parse("wercker.yml", text);
    let mut out = String::new();
    for diagnostic in &parsed.diagnostics {
        out.push_str(&render(diagnostic, false));
    }
    assert_eq!(parsed.file.is_none(), parsed.diagnostics.iter().any(|d| d.is_error()));
    if let Some(file) = parsed.file {
        let model = serde_json::to_string(&file).expect("a model is JSON");
        let _ = writeln!(out, "{model}");
    }
    // The cases are kept without white space at the ends of lines.
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn golden_cases() {
    let bless = std::env::var_os("KILN_BLESS").is_some();
    let mut wrong = String::new();
    let files = std::fs::read_dir(golden_dir()).expect("the golden files");
    let mut count = 0;
    for file in files {
        let path = file.expect("a golden file").path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut text = String::new();
        for case in split(&std::fs::read_to_string(&path).expect("a golden file is text")) {
            let out = told(&bytes(&case.text));
            let _ = write!(text, "=== {}\n{}--->\n{out}", case.title, case.text);
            if out != case.expected {
                let _ = writeln!(
                    wrong,
                    "{name}: {}\nexpected:\n{}now:\n{out}",
                    case.title, case.expected
                );
            }
            count += 1;
        }
        if bless {
            std::fs::write(&path, text).expect("a golden file can be written");
        }
    }
    assert!(count > 100, "only {count} cases were found");
    assert!(bless || wrong.is_empty(), "{wrong}a change that is meant is written with --bless");
}

#[test]
fn golden_schema() {
    let path = golden_dir().join("schema.json");
    let mut now = serde_json::to_string_pretty(&kiln_wercker::file::schema()).expect("JSON");
    now.push('\n');
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&path, &now).expect("a golden file can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("the golden schema");
    assert!(kept == now, "the schema is another one: write it with --bless, and read it\n{now}");
}

/// The codes of the table in the document, and those that cases show.
#[test]
fn every_message_is_described_and_shown() {
    if std::env::var_os("KILN_BLESS").is_some() {
        return; // The cases are being written.
    }
    let docs = golden_dir().join("../../../../docs");
    let text = std::fs::read_to_string(docs.join("wercker.md")).expect("docs/wercker.md");
    let steps = std::fs::read_to_string(docs.join("wercker-steps.md")).expect("docs");
    let table = text.split("| code | said of |").nth(1).expect("the table of codes");
    let rows = table.lines().take_while(|line| line.is_empty() || line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let described: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let mut shown = vec!["no-pipeline".to_owned()];
    for file in std::fs::read_dir(golden_dir()).expect("the golden files") {
        let path = file.expect("a golden file").path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        for case in split(&std::fs::read_to_string(&path).expect("a golden file is text")) {
            let parsed = File::parse("wercker.yml", &bytes(&case.text));
            shown.extend(parsed.diagnostics.iter().map(|d| d.code.to_string()));
        }
    }
    for code in &shown {
        let known = described.contains(&code.as_str()) || steps.contains(&format!("`{code}`"));
        assert!(known, "`{code}` is in no table of docs/wercker.md");
    }
    for code in described {
        assert!(shown.iter().any(|s| s == code), "no case shows `{code}`");
    }
}
