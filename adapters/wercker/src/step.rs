//! Steps: how they are named and found, what they say of themselves, and the shell text they become.
//!
//! Values that users wrote reach a shell as words that are quoted here ([`Template::word`]), and in
//! no other way.

mod cache;
mod export;
mod id;
mod internal;
mod local;
mod manifest;
mod pipeline;
mod registry;
mod report;
mod shell;
mod template;

pub use cache::{REFRESH_AFTER, Refresh, Resolved, StepCache};
pub use export::{Export, Exports, SPECIAL, exports, is_variable, variable};
pub use id::{NEWEST, OWNER, StepRef, StepRefError, StepSource, display_name, is_exact_version};
pub use internal::{
    DockerBuild, DockerPush, DockerRun, INTERNAL, ImageConfig, Internal, PortSpec, PublishStep,
    RegistryAuth, check_internal, read_internal,
};
pub use local::{copy_local, local_path};
pub use manifest::{
    Kind, MANIFEST_MAX, Manifest, ManifestRead, PropertySpec, STEP_YML, WERCKER_STEP_YML,
};
pub use pipeline::{ApplicationVars, GitVars, PassThrough, PipelineKind, PipelineVars};
pub use registry::{Found, LayeredRegistry, MemoryRegistry, StepRegistry, retried};
pub use report::{MESSAGE, NUMBERS, Report};
pub use shell::{Paths, Run, StepText, prelude, resume, script, setup, setup_in_place};
pub use template::{Part, Template, quote};
