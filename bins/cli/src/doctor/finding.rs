//! One thing that was looked at.

use crate::{screen::Look, text};
use serde::Serialize;
use std::error::Error as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Fine,
    Warning,
    Problem,
}

/// What was looked at, what was found, and what to do about it.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) what: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn fine(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Fine, found: found.into(), remedy: None }
    }

    pub(super) fn warning(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { what, verdict: Verdict::Warning, found: found.into(), remedy }
    }

    pub(super) fn problem(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { what, verdict: Verdict::Problem, found: found.into(), remedy }
    }

    /// A problem that an error tells of.
    pub(super) fn error(what: &'static str, e: &kiln::Error) -> Self {
        let mut found = e.to_string();
        let mut cause = e.source();
        while let Some(e) = cause {
            found.push_str(&format!(": {e}"));
            cause = e.source();
        }
        let remedy = e.hint_text().map(str::to_owned);
        Self { what, verdict: Verdict::Problem, found, remedy }
    }

    pub(super) fn is_problem(&self) -> bool {
        self.verdict == Verdict::Problem
    }

    /// The finding as people read it, with the remedy on a line of its own.
    pub(super) fn people(&self, look: Look) -> String {
        let mark = match self.verdict {
            Verdict::Fine => look.good(),
            Verdict::Warning => look.warning(),
            Verdict::Problem => look.bad(),
        };
        let mut out = format!("{mark} {}: {}", self.what, text::plain(&self.found));
        if let Some(remedy) = &self.remedy {
            out.push_str(&format!("\n    {}", text::plain(remedy)));
        }
        out
    }
}
