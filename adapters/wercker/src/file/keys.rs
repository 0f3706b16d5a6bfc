//! Every key of the file: the reader, the schema and the suggestions have them from here.

/// A key that means something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) about: &'static str,
    /// Whether it has an effect in Kiln.
    pub(crate) effect: bool,
}

/// What the value of a key looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Boolean,
    Minutes,
    Variables,
    Ports,
    Volumes,
    Box,
    Services,
    Steps,
    Workflows,
    WorkflowPipelines,
    Names,
}

const fn key(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, form, about, effect: true }
}

const fn cloud(name: &'static str) -> Key {
    let about = "Has no effect: use `username` and `password`, or a login of the engine.";
    Key { name, form: Form::Text, about, effect: false }
}

pub(crate) const TOP: &[Key] = &[
    key("box", Form::Box, "The box of pipelines that have none of their own."),
    key("services", Form::Services, "The services of pipelines that name none."),
    key("command-timeout", Form::Minutes, "The longest time a command may take, in minutes."),
    key(
        "no-response-timeout",
        Form::Minutes,
        "The longest time a command may print nothing, in minutes.",
    ),
    key("source-dir", Form::Text, "The directory of the project in which steps begin."),
    key("ignore-file", Form::Text, "The file that lists what is not copied into the box."),
    key("workflows", Form::Workflows, "Which pipelines run, and in which order."),
];

pub(crate) const PIPELINE: &[Key] = &[
    key("box", Form::Box, "The box, in place of the file's."),
    key("services", Form::Services, "The services, in place of the file's."),
    key("steps", Form::Steps, "What runs, in this order."),
    key("after-steps", Form::Steps, "What runs then, on every outcome."),
    key("base-path", Form::Text, "The directory in the box, in place of `/pipeline`."),
    Key {
        name: "docker",
        form: Form::Boolean,
        about: "Has no effect: a box is not given the socket of the engine.",
        effect: false,
    },
];

pub(crate) const BOX: &[Key] = &[
    key("id", Form::Text, "The name of the image."),
    key("tag", Form::Text, "The tag, in place of that in `id`."),
    key("name", Form::Text, "The name by which a service is reached."),
    key("cmd", Form::Text, "The command, as words of a shell."),
    key("entrypoint", Form::Text, "The entry point, as words of a shell."),
    key("env", Form::Variables, "Variables; names become upper case."),
    key(
        "ports",
        Form::Ports,
        "Ports to publish: `box`, `host:box`, `address:host:box`, with `/udp`.",
    ),
    key("volumes", Form::Volumes, "Directories: `host:box[:ro]`, separated by blanks or commas."),
    key("url", Form::Text, "`file://…`: a service that is another project."),
    key("username", Form::Text, "Who logs in to the registry."),
    key("password", Form::Text, "The password for it: name a variable."),
    key("registry", Form::Text, "The registry to log in to, where `id` does not say it."),
    cloud("aws-access-key"),
    cloud("aws-secret-key"),
    cloud("aws-region"),
    cloud("aws-registry-id"),
    cloud("aws-strict-auth"),
    cloud("azure-client-id"),
    cloud("azure-client-secret"),
    cloud("azure-subscription-id"),
    cloud("azure-tenant-id"),
    cloud("azure-resource-group"),
    cloud("azure-registry-name"),
    cloud("azure-login-server"),
];

pub(crate) const WORKFLOW: &[Key] = &[
    key("name", Form::Text, "The name of the workflow."),
    key("pipelines", Form::WorkflowPipelines, "The runs of pipelines."),
];

pub(crate) const WORKFLOW_PIPELINE: &[Key] = &[
    key("name", Form::Text, "The name of the run."),
    key("pipelineName", Form::Text, "The pipeline, where it is not called like the run."),
    key("requires", Form::Names, "Which runs have to succeed before."),
    key("artifactPipeline", Form::Text, "Whose output the run is given."),
    key("envFile", Form::Text, "A file of variables."),
];

/// Properties of steps that mean something to whatever runs them.
pub(crate) const STEP: &[Key] = &[
    key("name", Form::Text, "The name that is shown."),
    key("cwd", Form::Text, "The directory in which the step runs."),
    key("checkpoint", Form::Text, "A name under which the box is kept after the step."),
    key("code", Form::Text, "The code of a script."),
];

/// What other tools call a key.
pub(crate) const OTHER_NAMES: &[(&str, &str)] = &[
    ("image", "id"),
    ("environment", "env"),
    ("variables", "env"),
    ("command", "cmd"),
    ("commands", "cmd"),
    ("alias", "name"),
    ("user", "username"),
    ("pipeline", "pipelineName"),
    ("needs", "requires"),
];

/// Whether a list of keys has one of this name.
pub(crate) fn has(keys: &[Key], name: &str) -> bool {
    keys.iter().any(|key| key.name == name)
}
