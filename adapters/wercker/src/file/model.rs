use super::{BoxDef, Place, Source, Spanned};
use serde::Serialize;
use std::time::Duration;

/// A `wercker.yml`: what is written, in the order in which it is written.
#[derive(Clone, Debug, Serialize)]
pub struct File {
    /// The text, for diagnostics of later stages.
    #[serde(skip)]
    pub source: Source,
    /// The box of pipelines that have none of their own.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub box_def: Option<BoxDef>,
    /// The services of pipelines that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<BoxDef>>,
    /// The longest time one command may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_timeout: Option<Spanned<Duration>>,
    /// The longest time a command may be silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_response_timeout: Option<Spanned<Duration>>,
    /// The directory in the source in which steps begin; relative, and without `..`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_dir: Option<Spanned<String>>,
    /// The file that lists what is not copied; relative, and without `..`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_file: Option<Spanned<String>>,
    /// All pipelines.
    pub pipelines: Vec<PipelineDef>,
    /// All workflows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<WorkflowDef>,
}

/// A pipeline as it is written.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineDef {
    /// Its key.
    pub name: Spanned<String>,
    /// Its box, in place of the file's.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub box_def: Option<BoxDef>,
    /// Its services, in place of the file's; an empty list for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<BoxDef>>,
    /// Its steps where no deploy target is chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDef>,
    /// What runs on every outcome.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_steps: Vec<StepDef>,
    /// The directory in the box that the pipeline has in place of `/pipeline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_path: Option<Spanned<String>>,
    /// Whether it asks for the engine's socket, which it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker: Option<Spanned<bool>>,
    /// Its deploy targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetDef>,
}

/// The steps of a deploy target.
#[derive(Clone, Debug, Serialize)]
pub struct TargetDef {
    /// Its key.
    pub name: Spanned<String>,
    /// Its steps.
    pub steps: Vec<StepDef>,
}

/// A step as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepDef {
    /// Its id, `[owner/]name[@version][ "url"]`; never empty.
    pub id: Spanned<String>,
    /// Its properties, with the special ones `name`, `cwd`, `checkpoint` and `code`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
}

/// A property of a step, or a variable of a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Its key; never empty.
    pub key: Spanned<String>,
    /// Its value as it is written: `yes` is `yes`, `0123` is `0123`, nothing is empty. The place of
    /// a block (`|`) is that of its first line.
    pub value: Spanned<String>,
}

impl StepDef {
    /// A property by its key.
    pub fn property(&self, key: &str) -> Option<&Spanned<String>> {
        self.properties.iter().find(|p| *p.key == key).map(|p| &p.value)
    }

    /// Where the step begins.
    pub fn place(&self) -> Place {
        self.id.place
    }
}

/// A workflow as it is written.
#[derive(Clone, Debug, Serialize)]
pub struct WorkflowDef {
    /// Its name.
    pub name: Spanned<String>,
    /// Its runs of pipelines: one root, no cycle, every name once.
    pub pipelines: Vec<WorkflowPipeline>,
}

/// One run of a pipeline in a workflow.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowPipeline {
    /// Its name in the workflow.
    pub name: Spanned<String>,
    /// The pipeline it runs; the same as the name where nothing else is written.
    pub pipeline_name: Spanned<String>,
    /// What has to be over before, by the names in the workflow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Spanned<String>>,
    /// Whose output it is given, by the name in the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_pipeline: Option<Spanned<String>>,
    /// A file of variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_file: Option<Spanned<String>>,
}

/// A pipeline with everything that holds for it.
#[derive(Clone, Debug, Serialize)]
pub struct Pipeline {
    /// Its name.
    pub name: Spanned<String>,
    /// The deploy target whose steps these are; none where the target has no steps of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Spanned<String>>,
    /// Its box.
    #[serde(rename = "box")]
    pub box_def: BoxDef,
    /// Its services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<BoxDef>,
    /// Its steps.
    pub steps: Vec<StepDef>,
    /// What runs on every outcome.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_steps: Vec<StepDef>,
    /// The directory in the box that it has in place of `/pipeline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_path: Option<Spanned<String>>,
    /// Whether it asks for the engine's socket, which it is not given.
    pub docker: bool,
    /// The longest time one command may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_timeout: Option<Spanned<Duration>>,
    /// The longest time a command may be silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_response_timeout: Option<Spanned<Duration>>,
    /// The directory in the source in which steps begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_dir: Option<Spanned<String>>,
    /// The file that lists what is not copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_file: Option<Spanned<String>>,
}
