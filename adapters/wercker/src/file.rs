//! `wercker.yml`: its text, what is in it, and what is wrong with it.
//!
//! [`File::parse`] reads a file and [`File::pipeline`] puts together what holds for one pipeline of
//! it. Every value keeps its place, so that what is found out later can be told as well:
//! [`Source::error`] makes a [`Diagnostic`] of a place. Nothing here touches the world.

mod boxes;
mod diagnostic;
mod model;
mod pipeline;
mod place;
mod text;

pub use boxes::{BoxDef, Hidden, NoImage, PortDef, VolumeDef};
pub use diagnostic::{Diagnostic, Related, Severity, Source};
pub use model::{
    File, Pipeline, PipelineDef, Property, StepDef, TargetDef, WorkflowDef, WorkflowPipeline,
};
pub use place::{Place, Spanned};
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

impl File {
    /// Reads a file. `name` is what diagnostics call it.
    ///
    /// Any bytes give an answer: what is too large, too deep or no YAML is an error like any other.
    pub fn parse(name: &str, text: &[u8]) -> Parsed {
        let source = Source::new(name, &String::from_utf8_lossy(text));
        let place = Place { line: 1, column: 1, ..Place::default() };
        let error = source.error(place, "unread", "files are not read yet");
        Parsed { file: None, diagnostics: vec![error] }
    }
}
