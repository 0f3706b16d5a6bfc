//! Steps that only make sense while somebody watches.

use super::{
    StepCode,
    compose::{Chain, Composer},
};
use crate::step::{StepText, quote, script};
use std::fmt::Write as _;

/// The file that a step `internal/shell` writes into its report directory: whoever has a terminal
/// runs it in the box with `sh`, and the step is over when it ends.
pub const SHELL_FILE: &str = "shell.sh";

/// Stops a process after all that it started. A shell without a terminal gives its children no
/// group of their own, and lets them ignore an interrupt.
const STOP: &str = "_kiln_stop() {
  for _kiln_child in $(sed -n \"s/^\\([0-9]*\\) (.*) [A-Z] $1 .*/\\1/p\" /proc/[0-9]*/stat 2>/dev/null); do
    _kiln_stop \"$_kiln_child\"
  done
  kill -TERM \"$1\" 2>/dev/null
}
";

impl Composer<'_> {
    /// `internal/watch`: runs code, and runs it again when files of the source change.
    pub(super) fn watch(&mut self, chain: &mut Chain, code: &StepCode, name: &str, reload: bool) {
        if !self.watched(code) {
            return;
        }
        let written = code.def.property("code").map(|c| c.value.clone()).unwrap_or_default();
        let mut text = self.beginning(code);
        let mark = quote(&format!("{}/{}/seen", self.paths.report, code.safe_id));
        let root = quote(&self.paths.source_dir());
        let run = format!("( {} ) < /dev/null &\n_kiln_watched=$!\n", script(&written));
        let stop = "_kiln_stop \"$_kiln_watched\"; wait \"$_kiln_watched\"\n";
        text.push_str(STOP);
        // Some tools know the age of a file to the second: what changes in the second of the mark
        // has to count, and what was copied before the mark must not.
        let _ = write!(
            text,
            "_kiln_changed() {{ find {root} -path '*/.git' -prune -o -newer {mark} -type f -print \
             2>/dev/null | head -n 1; }}\n\
             sleep 2\nwhile :; do\ntouch -d \"@$(($(date +%s) - 1))\" {mark}\n{run}"
        );
        text.push_str(if reload { "" } else { "wait \"$_kiln_watched\"\n" });
        text.push_str("until [ -n \"$(_kiln_changed)\" ]; do sleep 1; done\nsleep 2\n");
        text.push_str(if reload { stop } else { "" });
        text.push_str("info 'files changed: running again'\ndone\n");
        let mut step = self.exec(chain, name, &text, &code.safe_id);
        (step.timeout, step.quiet) = (None, None);
        self.link(chain, step);
    }

    /// `internal/shell`: waits for whoever has a terminal to enter the box and leave it.
    pub(super) fn shell(&mut self, chain: &mut Chain, code: &StepCode, name: &str) {
        if !self.watched(code) {
            return;
        }
        let mut text = self.beginning(code);
        if let Some(written) = code.def.property("code") {
            let _ = writeln!(text, "{}", written.value);
        }
        let report = format!("{}/{}", self.paths.report, code.safe_id);
        let (file, done) =
            (quote(&format!("{report}/{SHELL_FILE}")), quote(&format!("{report}/done")));
        // As it is written: it is for the shell in the box, which knows all variables.
        let cmd = code.def.property("cmd").filter(|cmd| !cmd.is_empty());
        let shell = cmd.map_or("$(command -v bash || command -v sh)", |cmd| cmd.value.as_str());
        let _ = write!(
            text,
            "rm -f {done}\n{{ export -p\nprintf 'cd -- \"%s\" 2>/dev/null\\n' \"$PWD\"\n\
             printf '%s\\n' {}\n}} > {file}.new && mv {file}.new {file}\n\
             info 'waiting for a terminal to enter the box'\n\
             until [ -e {done} ]; do sleep 1; done\n",
            quote(&format!("{shell}\ntouch {done}"))
        );
        let mut step = self.exec(chain, name, &text, &code.safe_id);
        (step.timeout, step.quiet) = (None, None);
        self.link(chain, step);
    }

    fn watched(&mut self, code: &StepCode) -> bool {
        if !self.settings.dev {
            let message = format!("step `{}` needs somebody who watches", code.step);
            let help = "It is for `kiln dev`. Leave it out of pipelines that run alone.";
            self.trouble.error(code.def.place(), "only-dev", message, help);
        }
        self.settings.dev
    }

    /// The variables of a step, and the place where it begins.
    fn beginning(&self, code: &StepCode) -> String {
        let text = StepText {
            paths: &self.paths,
            safe_id: &code.safe_id,
            owner: &code.step.owner,
            name: &code.step.name,
            exports: &[],
            cwd: None,
            init: false,
            run: crate::step::Run::Nothing,
        };
        text.text()
    }
}
