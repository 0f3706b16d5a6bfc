//! From a pipeline of `wercker.yml` to a plan.
//!
//! The settings come first: they are what a plan step of the planner [`PLANNER`] carries.

mod settings;

pub use settings::{Application, Cache, Commit, Git, Kind, SETTINGS_VERSION, Settings};

/// The name of the planner, in a plan step.
pub const PLANNER: &str = "wercker";
/// The artifact in which the output of a run is.
pub const OUTPUT: &str = "output.tar";
