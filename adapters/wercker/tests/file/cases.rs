//! Files of cases: `=== TITLE`, the text of a file, `--->`, what became of it.
//!
//! A text `%NAME` stands for one that would be too long, or that no text file can hold.

use std::{fmt::Write, path::PathBuf};

/// One case of a file.
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) expected: String,
}

pub(crate) fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wercker/file")
}

/// The cases of a text.
pub(crate) fn split(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut out = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            out = false;
            let (text, expected) = Default::default();
            cases.push(Case { title: title.into(), text, expected });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with `=== TITLE`");
        if line == "--->" && !out {
            out = true;
            continue;
        }
        let part = if out { &mut case.expected } else { &mut case.text };
        part.push_str(line);
        part.push('\n');
    }
    cases
}

/// The bytes that a case is about.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    const HEAD: &str = "box: debian\nbuild:\n  steps:\n";
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let count = words.next().and_then(|n| n.parse::<usize>().ok()).unwrap_or_default();
    match name {
        "%STEPS" => format!("{HEAD}{}", "    - a\n".repeat(count)).into(),
        "%MISTAKES" => format!("{HEAD}{}", "    - a: {b: [c]}\n".repeat(count)).into(),
        "%VALUE" => format!("{HEAD}    - a:\n        key: {}\n", "x".repeat(count)).into(),
        "%DEEP" => format!("box: {}", "[".repeat(count)).into(),
        "%INDENT" => {
            let mut deep = String::new();
            for i in 0..count {
                let _ = writeln!(deep, "{}a:", " ".repeat(i));
            }
            deep.into()
        }
        "%BOMB" => {
            let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
            for i in 1..12 {
                let line = format!("*a{}, ", i - 1).repeat(10);
                let _ = writeln!(bomb, "a{i}: &a{i} [{}]", line.trim_end_matches(", "));
            }
            bomb.into()
        }
        "%LATIN" => b"box: debian\nbuild: {steps: [caf\xe9]}\n".to_vec(),
        "%NUL" => b"box: debian\nbuild: {steps: [a\0b]}\n".to_vec(),
        _ => text.as_bytes().to_vec(),
    }
}
