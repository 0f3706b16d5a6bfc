//! From a pipeline of `wercker.yml` to a plan.
//!
//! [`plan`](plan()) is pure: a pipeline, what is known of its steps, and [`Settings`] in, a plan out.
//! `docs/wercker.md` shows what comes out.

mod boxes;
mod compose;
mod dev;
mod ends;
mod images;
mod internal;
mod names;
mod origin;
mod planner;
mod resolve;
mod scope;
mod settings;
mod steps;
mod trouble;
mod workspace;

pub use boxes::Places;
pub use compose::{Planned, Recipe, StepCode, plan};
pub use dev::SHELL_FILE;
pub use names::RESERVED_NAMES;
pub use planner::WerckerPlanner;
pub use settings::{Application, Cache, Commit, Git, Kind, SETTINGS_VERSION, Settings};

/// The name of the planner, in a plan step.
pub const PLANNER: &str = "wercker";
/// The artifact in which the output of a run is.
pub const OUTPUT: &str = "output.tar";
