//! How large anything in a file may be.

/// The longest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The longest value, in bytes: Linux hands no variable of more than 128 KiB to a program.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// The longest code of a step, in bytes.
pub const CODE_BYTES_MAX: usize = 512 << 10;
/// The most steps of a pipeline, a deploy target or a list of after-steps.
pub const STEPS_MAX: usize = 1000;
/// The most pipelines of a file.
pub const PIPELINES_MAX: usize = 500;
/// The most services of a pipeline.
pub const SERVICES_MAX: usize = 50;
/// The most properties of a step, and variables of a box.
pub const PROPERTIES_MAX: usize = 500;
/// The most runs of pipelines in a workflow.
pub const WORKFLOW_PIPELINES_MAX: usize = 100;
/// The most diagnostics that are told.
pub const DIAGNOSTICS_MAX: usize = 100;
/// The longest line that diagnostics show, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 4096;
/// The most values in a file, all aliases written out.
pub(crate) const NODES_MAX: usize = 120_000;
/// The most bytes in values of a file, all aliases written out.
pub(crate) const EXPANDED_BYTES_MAX: usize = 8 << 20;
/// How deep lists and maps may go.
pub(crate) const DEPTH_MAX: usize = 32;
