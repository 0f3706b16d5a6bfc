//! The shell text of a pipeline: what prepares a session, and what each step is in it.
//!
//! It is written for `sh`, whichever that is: dash, bash, or busybox. Whatever users wrote
//! reaches it quoted; see [`Template`].

use super::{Export, Template, quote};
use std::fmt::Write as _;

/// Where things are in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The directory of the pipeline, absolute.
    pub pipeline: String,
    /// Where the source is mounted.
    pub mounted_source: String,
    /// Where the directories of the steps are mounted.
    pub mounted_steps: String,
    /// The directory of the reports.
    pub report: String,
    /// Where in the source steps begin; empty for the source itself.
    pub source_dir: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            pipeline: "/pipeline".into(),
            mounted_source: "/mnt/wercker/source".into(),
            mounted_steps: "/mnt/wercker/steps".into(),
            report: "/report".into(),
            source_dir: String::new(),
        }
    }
}

impl Paths {
    /// The source: `WERCKER_ROOT`.
    pub fn root(&self) -> String {
        format!("{}/source", self.pipeline)
    }

    /// Where steps begin: `WERCKER_SOURCE_DIR`.
    pub fn source_dir(&self) -> String {
        match self.source_dir.trim_matches('/') {
            "" | "." => self.root(),
            dir => format!("{}/{dir}", self.root()),
        }
    }

    /// What is kept for the next run: `WERCKER_CACHE_DIR`.
    pub fn cache(&self) -> String {
        format!("{}/cache", self.pipeline)
    }

    /// What is kept of this run: `WERCKER_OUTPUT_DIR`.
    pub fn output(&self) -> String {
        format!("{}/output", self.pipeline)
    }

    /// The code of a step: `WERCKER_STEP_ROOT`.
    pub fn step_root(&self, safe_id: &str) -> String {
        format!("{}/{safe_id}", self.pipeline)
    }

    /// What a step tells: `WERCKER_REPORT_MESSAGE_FILE`.
    pub fn message_file(&self, safe_id: &str) -> String {
        format!("{}/{safe_id}/message.txt", self.report)
    }

    /// What a step counts: `WERCKER_REPORT_NUMBERS_FILE`.
    pub fn numbers_file(&self, safe_id: &str) -> String {
        format!("{}/{safe_id}/numbers.ini", self.report)
    }

    /// What a step leaves to be looked at: `WERCKER_REPORT_ARTIFACTS_DIR`.
    pub fn artifacts_dir(&self, safe_id: &str) -> String {
        format!("{}/{safe_id}/artifacts", self.report)
    }
}

/// How the `run.sh` of a step is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// There is none.
    #[default]
    Nothing,
    /// In the shell that all steps share.
    Sourced,
    /// As a program of its own, since its first line names an interpreter that is no shell.
    Executed,
}

impl Run {
    /// Judges the beginning of a `run.sh`, as far as its first line.
    pub fn of(text: &[u8]) -> Self {
        let line = text.split(|&b| b == b'\n').next().unwrap_or_default();
        let Some(line) = line.strip_prefix(b"#!") else { return Self::Sourced };
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace().filter(|w| !w.starts_with('-'));
        let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
        let mut program = words.next().map(base).unwrap_or_default();
        if ["env", "busybox"].contains(&program.as_str()) {
            program = words.find(|w| !w.contains('=')).map(base).unwrap_or_default();
        }
        match program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
            "" | "sh" | "bash" | "dash" | "ash" | "ksh" | "mksh" | "zsh" => Self::Sourced,
            _ => Self::Executed,
        }
    }
}

/// The `run.sh` of a `script`: its code, which stops at the first error unless it begins with `#!`.
pub fn script(code: &str) -> String {
    let mut text = String::with_capacity(code.len() + 8);
    if !code.starts_with("#!") {
        text.push_str("set -e\n");
    }
    text.push_str(code);
    if !code.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The helpers that steps call: `success`, `info`, `debug`, `warn`, `warning`, `error`, `fail`,
/// `setMessage`, and `sudo` where there is none. A session needs them once, before all steps.
pub fn prelude() -> &'static str {
    include_str!("prelude.sh")
}

/// The first command of the session of the steps: copies the source and the code of the steps to
/// where they are worked on, makes every directory, and has the helpers.
///
/// `safe_ids` are those of all steps, after-steps too: reports need a directory each, and one
/// command for all takes less time than one for each.
pub fn setup(paths: &Paths, safe_ids: &[String]) -> String {
    let root = quote(&paths.root());
    let fresh = format!("rm -rf {root} && ");
    let copy = format!(" && cp -RP {}/. {root}/", quote(&paths.mounted_source));
    prepared(paths, safe_ids, &fresh, &copy)
}

/// The same where the source itself is mounted in its place: nothing of it is removed or copied.
pub fn setup_in_place(paths: &Paths, safe_ids: &[String]) -> String {
    prepared(paths, safe_ids, "", "")
}

fn prepared(paths: &Paths, safe_ids: &[String], before: &str, copy: &str) -> String {
    let mut text = format!("{}{before}mkdir -p {}", prelude(), quote(&paths.root()));
    for dir in [paths.cache(), paths.output()] {
        let _ = write!(text, " {}", quote(&dir));
    }
    for id in safe_ids {
        let _ = write!(text, " {}", quote(&paths.artifacts_dir(id)));
    }
    text.push_str(copy);
    if !safe_ids.is_empty() {
        let (from, to) = (quote(&paths.mounted_steps), quote(&paths.pipeline));
        let _ = write!(text, " && cp -RP {from}/. {to}/");
    }
    let _ = writeln!(text, " && cd {} && set -e", quote(&paths.source_dir()));
    text
}

/// The first command of any later session in the same box: the helpers, in the place to begin.
pub fn resume(paths: &Paths) -> String {
    format!("{}cd {} && set -e\n", prelude(), quote(&paths.source_dir()))
}

/// A step, as a session runs it.
#[derive(Clone, Copy, Debug)]
pub struct StepText<'a> {
    /// Where things are.
    pub paths: &'a Paths,
    /// The name of its directory.
    pub safe_id: &'a str,
    /// Who published it, for `WERCKER_STEP_OWNER`.
    pub owner: &'a str,
    /// Its name, for `WERCKER_STEP_NAME`.
    pub name: &'a str,
    /// Its properties.
    pub exports: &'a [Export],
    /// Where it begins, instead of where all do.
    pub cwd: Option<&'a Template>,
    /// Whether it has an `init.sh`.
    pub init: bool,
    /// How its `run.sh` is run.
    pub run: Run,
}

impl StepText<'_> {
    /// The variables of every step, which its own properties may use.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let Self { paths, safe_id, .. } = self;
        vec![
            ("WERCKER_STEP_ROOT", paths.step_root(safe_id)),
            ("WERCKER_STEP_ID", (*safe_id).to_owned()),
            ("WERCKER_STEP_OWNER", self.owner.to_owned()),
            ("WERCKER_STEP_NAME", self.name.to_owned()),
            ("WERCKER_REPORT_NUMBERS_FILE", paths.numbers_file(safe_id)),
            ("WERCKER_REPORT_MESSAGE_FILE", paths.message_file(safe_id)),
            ("WERCKER_REPORT_ARTIFACTS_DIR", paths.artifacts_dir(safe_id)),
        ]
    }

    /// The text that the session evaluates. Its status is that of the step.
    ///
    /// `set -e` of the step before ends with it; the code of a `script` begins with its own. The
    /// place to begin comes before the properties' own variables can be used in `cwd`.
    pub fn text(&self) -> String {
        let mut text = String::from("set +e\n");
        for (name, value) in self.variables() {
            let _ = writeln!(text, "export {name}={}", quote(&value));
        }
        for Export { name, value } in self.exports {
            let _ = writeln!(text, "export {name}={}", value.word());
        }
        let root = self.paths.step_root(self.safe_id);
        let _ = write!(text, "if cd {}", quote(&self.paths.source_dir()));
        if let Some(cwd) = self.cwd.filter(|cwd| !cwd.is_empty()) {
            let _ = write!(text, " && cd {}", place(cwd));
        }
        text.push_str("; then\n");
        if self.init {
            let _ = writeln!(text, ". {}", quote(&format!("{root}/init.sh")));
            text.push_str("_kiln_status=$?\nif [ \"$_kiln_status\" -eq 0 ]; then\n");
        }
        let run = quote(&format!("{root}/run.sh"));
        let _ = match self.run {
            Run::Nothing => writeln!(text, ":"),
            Run::Sourced => writeln!(text, ". {run} < /dev/null"),
            Run::Executed => writeln!(text, "chmod +x {run}\n{run} < /dev/null"),
        };
        if self.init {
            text.push_str("else\n(exit \"$_kiln_status\")\nfi\n");
        }
        text.push_str("else\n(exit 1)\nfi\n");
        text
    }
}

/// A word that `cd` takes for a directory: never for an option, nor for one of `CDPATH`.
fn place(cwd: &Template) -> String {
    let begins_with_name = cwd.parts().first().is_some_and(|part| match part {
        super::Part::Text(text) => !text.starts_with('/'),
        super::Part::Variable(_) => false,
    });
    if begins_with_name { format!("./{}", cwd.word()) } else { cwd.word() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_stops_at_the_first_error_unless_it_says_how_it_is_run() {
        assert_eq!(script("a\nb"), "set -e\na\nb\n");
        assert_eq!(script("#!/bin/bash\na\n"), "#!/bin/bash\na\n");
        assert_eq!(script(""), "set -e\n\n");
    }

    #[test]
    fn only_what_is_no_shell_is_a_program_of_its_own() {
        for shell in [
            "echo",
            "",
            "#!/bin/sh",
            "#! /bin/bash -xe",
            "#!/usr/bin/env bash",
            "#!",
            "#!/bin/busybox sh",
            "#!/usr/bin/env -S bash -e",
            "#!/bin/zsh5.9",
        ] {
            assert_eq!(Run::of(format!("{shell}\nx").as_bytes()), Run::Sourced, "{shell}");
        }
        for other in ["#!/usr/bin/python3.11", "#!/usr/bin/env ruby", "#!/usr/bin/env A=1 node\r"] {
            assert_eq!(Run::of(other.as_bytes()), Run::Executed, "{other}");
        }
        assert_eq!(Run::of(b"#!/usr/bin/\xff\n"), Run::Executed);
    }

    #[test]
    fn a_step_begins_where_it_says() {
        let paths = Paths { source_dir: "app/".into(), ..Paths::default() };
        let text = |cwd: &str| {
            let cwd = Template::parse(cwd);
            let step = StepText {
                paths: &paths,
                safe_id: "script-1",
                owner: "wercker",
                name: "script",
                exports: &[],
                cwd: Some(&cwd),
                init: false,
                run: Run::Sourced,
            };
            step.text()
        };
        assert!(text("").contains("if cd '/pipeline/source/app'; then"));
        assert!(text("-x y").contains("app' && cd ./'-x y'; then"));
        assert!(text("/tmp/$A").contains("&& cd '/tmp/'\"${A-}\"; then"));
        assert!(text("$A/x").contains("&& cd \"${A-}\"'/x'; then"));
    }
}
