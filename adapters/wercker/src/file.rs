//! `wercker.yml`: its text, what is in it, and what is wrong with it.
//!
//! [`File::parse`] reads a file and [`File::pipeline`] puts together what holds for one pipeline of
//! it. Every value keeps its place, so that what is found out later can be told as well:
//! [`Source::error`] makes a [`Diagnostic`] of a place. Nothing here touches the world.

mod boxes;
mod detect;
mod diagnostic;
mod keys;
pub mod limits;
mod lines;
mod mistake;
mod model;
mod number;
mod pipeline;
mod place;
mod read_box;
mod read_file;
mod read_step;
mod read_workflow;
mod reader;
mod render;
mod schema;
mod text;
pub(crate) mod yaml;

pub use boxes::{BoxDef, Hidden, NoImage, PortDef, VolumeDef};
pub use detect::{DETECTED, detect};
pub use diagnostic::{Diagnostic, Related, Severity, Source};
pub use model::{
    File, Pipeline, PipelineDef, Property, StepDef, TargetDef, WorkflowDef, WorkflowPipeline,
};
pub use place::{Place, Spanned};
pub use render::render;
pub use schema::schema;
pub(crate) use text::nearest;
pub use text::words;

/// The names under which the file is looked for, in this order.
pub const FILE_NAMES: [&str; 3] = ["ewok.yml", "wercker.yml", ".wercker.yml"];

/// What became of a text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The file; none if there is an error.
    pub file: Option<File>,
    /// Everything that is wrong, by place.
    pub diagnostics: Vec<Diagnostic>,
}
