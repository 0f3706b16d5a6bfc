//! Plans that grow: what a planner answers becomes part of the plan that asked.

use super::{ImageFrom, Op, Plan, PlanError, STEPS_MAX, Step};
use crate::StepId;

impl Plan {
    /// This plan and a fragment behind it, as the answer to a plan step.
    ///
    /// - The steps of the fragment come after all that are there, in their order, and what they
    ///   need moves with them; a step of it that needs none needs the plan step.
    /// - Names stay unique, and the fragment's boxes are new: it replaces none.
    /// - It does not ask again: no step of it is a plan step. It has no time of its own, and asks
    ///   of the node only what this plan asks already, since the node was chosen before.
    ///
    /// The result is checked whole.
    pub fn extend(&self, asked: StepId, fragment: &Self) -> Result<Self, PlanError> {
        if !matches!(self.get(asked).map(|step| &step.op), Some(Op::Plan { .. })) {
            return Err(PlanError::NotAsked(asked));
        }
        if fragment.timeout.is_some() {
            return Err(PlanError::FragmentTimeout);
        }
        let total = self.steps.len() + fragment.steps.len();
        if total > STEPS_MAX {
            return Err(PlanError::TooLong(total));
        }
        let mut boxes = self.boxes.clone();
        for (name, spec) in &fragment.boxes {
            if boxes.insert(name.clone(), spec.clone()).is_some() {
                return Err(PlanError::BoxExists(name.clone()));
            }
        }
        let mut steps = self.steps.clone();
        for step in &fragment.steps {
            if matches!(step.op, Op::Plan { .. }) {
                return Err(PlanError::NestedPlan(step.name.clone()));
            }
            steps.push(moved(step, self.steps.len(), asked));
        }
        let plan = Self::checked(steps, boxes, self.timeout)?;
        if plan.placement() != self.placement() {
            return Err(PlanError::PlacementGrows);
        }
        Ok(plan)
    }
}

/// A step of a fragment as it is behind so many others.
fn moved(step: &Step, by: usize, asked: StepId) -> Step {
    // The sum is a place in a plan of no more than `STEPS_MAX` steps.
    let shift = |id: &mut StepId| id.0 = (by + id.index()) as u16;
    let mut step = step.clone();
    step.needs.iter_mut().for_each(shift);
    if step.needs.is_empty() {
        step.needs.push(asked);
    }
    if let Some(ImageFrom::Step(from)) = step.op.image_mut() {
        shift(from);
    }
    step
}
