//! What is asked of the values in a plan, beside how its steps hang together.

use super::{Op, Plan, PlanError, Step, boxes};
use crate::secret::Value;
use std::collections::BTreeMap;

impl Plan {
    /// Facts are for commands alone: nothing else is resolved when a step begins.
    pub(super) fn check_boxes(&self) -> Result<(), PlanError> {
        for (name, spec) in self.boxes() {
            boxes::check(name, spec)?;
            let services = spec.services.values().flat_map(|s| fact(&s.env));
            if let Some(variable) = fact(&spec.env).into_iter().chain(services).next() {
                let (place, variable) = (format!("box `{name}`"), variable.to_owned());
                return Err(PlanError::FactOutside { place, variable });
            }
        }
        Ok(())
    }
}

impl Step {
    /// Whether what the step is given can be meant.
    pub(super) fn check_values(&self) -> Result<(), PlanError> {
        let name = || self.name.clone();
        if let Op::Build(spec) = &self.op
            && let Some(variable) = fact(&spec.args)
        {
            let (place, variable) = (format!("step `{}`", self.name), variable.to_owned());
            return Err(PlanError::FactOutside { place, variable });
        }
        if let Op::Plan { planner, .. } = &self.op
            && (planner.is_empty() || planner.len() > 64 || planner.contains(char::is_control))
        {
            return Err(PlanError::BadPlanner(name()));
        }
        if self.quiet.is_some_and(|time| time.is_zero()) {
            return Err(PlanError::NoQuiet(name()));
        }
        let paths = match &self.op {
            Op::Collect { paths, name: artifact, .. } => {
                if paths.is_empty() || artifact.is_root() {
                    return Err(PlanError::EmptyCollect(name()));
                }
                paths.as_slice()
            }
            Op::Restore { path, .. } | Op::Save { path, .. } => std::slice::from_ref(path),
            _ => &[],
        };
        match paths.iter().find(|path| !is_path(path)) {
            Some(path) => Err(PlanError::BadPath { step: name(), path: path.clone() }),
            None => Ok(()),
        }
    }
}

/// The first variable that is a fact.
fn fact(env: &BTreeMap<String, Value>) -> Option<&str> {
    env.iter().find(|(_, value)| matches!(value, Value::Fact(_))).map(|(name, _)| name.as_str())
}

/// Whether a text is an absolute path in a box, without a way up.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 4096
        && !path.contains('\0')
        && !path.split('/').any(|part| part == "..")
}
