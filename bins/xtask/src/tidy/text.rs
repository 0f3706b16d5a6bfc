//! Words that may not be in some files.

use super::Finding;
use super::source::Source;

/// A word that some files may not have.
struct Rule {
    applies: fn(&str) -> bool,
    word: &'static str,
    /// Whether it may stand in unit tests.
    fine_in_tests: bool,
    why: &'static str,
}

const fn rule(applies: fn(&str) -> bool, word: &'static str, why: &'static str) -> Rule {
    Rule { applies, word, fine_in_tests: false, why }
}

/// The one file of core that reads a clock.
const CLOCK: &str = "core/src/memory/clock.rs";
const PURE: &str = "state, plan and event are pure";
const WORLDLESS: &str = "core reads no environment and no clock but its own";

const RULES: &[Rule] = &[
    rule(pure, "port::", PURE),
    rule(pure, "async", PURE),
    rule(pure, "SystemTime", PURE),
    rule(pure, "std::time::Instant", PURE),
    rule(pure, "Instant::now", PURE),
    Rule { fine_in_tests: true, ..rule(core, "std::env", WORLDLESS) },
    Rule { fine_in_tests: true, ..rule(core, "env::var", WORLDLESS) },
    Rule { fine_in_tests: true, ..rule(core, "home_dir", WORLDLESS) },
    Rule { fine_in_tests: true, ..rule(core_but_clock, "SystemTime::now", WORLDLESS) },
    Rule { fine_in_tests: true, ..rule(core_but_clock, "Instant::now", WORLDLESS) },
    rule(any, "#[allow", "write #[expect(…, reason = …)]"),
    rule(any, "#![allow", "write #![expect(…, reason = …)]"),
    rule(any, "dbg!", "a leftover"),
    rule(any, "todo!", "write it, or open an issue"),
    rule(any, "unimplemented!", "write it, or open an issue"),
];

const NOTES: [&str; 3] = ["TODO", "FIXME", "XXX"];

fn any(_: &str) -> bool {
    true
}

fn core(path: &str) -> bool {
    path.starts_with("core/src/")
}

fn core_but_clock(path: &str) -> bool {
    core(path) && path != CLOCK
}

/// `state*`, `plan*` and `event*` of core.
fn pure(path: &str) -> bool {
    let room = path.strip_prefix("core/src/").unwrap_or_default();
    ["state", "plan", "event"].iter().any(|name| room.starts_with(name))
}

/// Looks for every word in every file.
pub(super) fn check(files: &[Source]) -> Vec<Finding> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES.iter().filter(|rule| (rule.applies)(&file.path)) {
        let code = if rule.fine_in_tests { file.code_without_tests() } else { &file.code };
        for line in lines_with(code, rule.word) {
            let what = format!("`{}`: {}", rule.word, rule.why);
            findings.push(Finding::new(format!("{}:{line}", file.path), what));
        }
    }
    for note in NOTES {
        for line in lines_with(&file.comments, note) {
            let what = format!("{note}: do it, or open an issue");
            findings.push(Finding::new(format!("{}:{line}", file.path), what));
        }
    }
    findings
}

/// The numbers of the lines that have this word, not as a part of a longer one.
fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let has = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let in_word = |c: char| c.is_alphanumeric() || c == '_';
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            // Only a word's own letters can run on: `todo!` may be followed by anything.
            let runs_on = word.ends_with(in_word) && after.is_some_and(in_word);
            !(word.starts_with(in_word) && before.is_some_and(in_word) || runs_on)
        })
    };
    text.lines().enumerate().filter(|(_, line)| has(line)).map(|(at, _)| at + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check_file(&Source::new(path, text)).into_iter().map(|f| f.place).collect()
    }

    #[test]
    fn pure_rooms_know_no_world() {
        for bad in ["use crate::port::X;", "async fn f() {}", "let t: SystemTime;"] {
            assert_eq!(found("core/src/state/apply.rs", bad), ["core/src/state/apply.rs:1"]);
            assert_eq!(found("core/src/plan.rs", bad), ["core/src/plan.rs:1"]);
            assert!(found("core/src/engine/run.rs", bad).is_empty(), "{bad} is fine elsewhere");
        }
        assert!(found("core/src/event.rs", "// async SystemTime\nlet x = \"async\";").is_empty());
        assert!(found("core/src/plan.rs", "fn asynchronous() {}").is_empty());
    }

    #[test]
    fn core_reads_one_clock() {
        let bad = "\nlet now = Instant::now();";
        assert_eq!(found("core/src/engine.rs", bad), ["core/src/engine.rs:2"]);
        assert!(found(CLOCK, bad).is_empty());
        assert!(found("adapters/docker/src/lib.rs", bad).is_empty());
        assert!(found("core/src/engine.rs", &format!("#[cfg(test)]{bad}")).is_empty());
        assert_eq!(found("core/src/x.rs", "use std::env;"), ["core/src/x.rs:1"]);
    }

    #[test]
    fn leftovers_are_found_everywhere() {
        for bad in ["#[allow(dead_code)]", "#![allow(x)]", "dbg!(x)", "todo!()", "// TODO: x"] {
            assert_eq!(found("tests/it/main.rs", bad), ["tests/it/main.rs:1"], "{bad}");
        }
        assert!(found("tests/it/main.rs", "let x = \"TODO dbg!\"; // mastodon").is_empty());
    }
}
