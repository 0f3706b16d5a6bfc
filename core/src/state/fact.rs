use super::{BuildState, StepPhase};
use crate::{Fact, Failure, StepId, plan::Command, secret::Value};

/// The note in which a step says why it failed.
const MESSAGE: &str = "message";

impl BuildState {
    /// The first step, in the order of the plan, that failed and may not.
    pub(super) fn first_failure(&self) -> Option<(StepId, &Failure)> {
        self.plan.ids().find_map(|id| match self.step(id) {
            StepPhase::Failed(failure) if !self.plan.step(id).may_fail => Some((id, failure)),
            _ => None,
        })
    }

    /// What is known of the build by now; none where there is nothing to tell.
    pub fn fact(&self, fact: Fact) -> Option<String> {
        let failed = self.first_failure();
        match fact {
            Fact::Result => {
                let passed = failed.is_none() && self.stop.is_none();
                Some(if passed { "passed" } else { "failed" }.to_owned())
            }
            Fact::FailedStep => failed.map(|(id, _)| self.plan.step(id).name.clone()),
            Fact::FailedMessage => {
                // A file that a shell wrote ends with its line.
                let said =
                    |f: &Failure| f.notes.get(MESSAGE).unwrap_or(&f.message).trim_end().into();
                failed.map(|(_, f)| said(f))
            }
        }
    }

    /// A command with what is known by now in place of the facts it asks for.
    pub(crate) fn informed(&self, command: &Command) -> Command {
        let mut command = command.clone();
        command.env = std::mem::take(&mut command.env)
            .into_iter()
            .filter_map(|(name, value)| match value {
                Value::Fact(fact) => Some((name, Value::Text(self.fact(fact)?))),
                Value::Text(_) | Value::Secret(_) => Some((name, value)),
            })
            .collect();
        command
    }
}
