//! The steps that are in Kiln itself: `internal/…`, with what each can be told.

mod image;
mod told;

pub use image::{ImageConfig, PortSpec};

use super::{StepRef, Template};
use crate::file::{Diagnostic, Source, StepDef};
use told::Told;

/// A step that is in Kiln itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Internal {
    /// Makes an image of the box, or takes one that `docker-build` made, and pushes it.
    DockerPush(DockerPush),
    /// Makes an image of nothing but the output, and pushes it.
    DockerScratchPush(DockerPush),
    /// Builds an image by a Dockerfile.
    DockerBuild(DockerBuild),
    /// Starts a container beside the box.
    DockerRun(DockerRun),
    /// Stops a container that `docker-run` started.
    DockerKill {
        /// Its name.
        name: String,
    },
    /// Keeps the box as an artifact.
    StoreContainer,
    /// Publishes a step to the registry of steps.
    PublishStep(PublishStep),
    /// Runs code again whenever files change; only where somebody watches.
    Watch {
        /// The code.
        code: String,
        /// Whether what ran is stopped and started anew.
        reload: bool,
    },
    /// Hands the terminal to a shell in the box; only where there is one.
    Shell {
        /// The shell.
        cmd: Option<String>,
        /// What is run before.
        code: Option<String>,
    },
}

/// The names of the steps that are in Kiln itself, behind `internal/`.
pub const INTERNAL: [&str; 9] = [
    "docker-build",
    "docker-kill",
    "docker-push",
    "docker-run",
    "docker-scratch-push",
    "publish-step",
    "shell",
    "store-container",
    "watch",
];

/// Who logs in to a registry of images.
///
/// These are as they are written: a password that is a variable is best one that nobody may see,
/// and then it is no text before the push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// The user.
    pub username: Option<Template>,
    /// The password, or a token in its place.
    pub password: Option<Template>,
    /// The registry, where the name of the image does not say it: `registry`, or `auth-server`.
    pub registry: Option<String>,
}

/// `internal/docker-push` and `internal/docker-scratch-push`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerPush {
    /// Who logs in.
    pub auth: RegistryAuth,
    /// Where to, without a tag.
    pub repository: Option<String>,
    /// The tags; none for what is usual.
    pub tags: Vec<String>,
    /// The image of `docker-build` that is pushed, in place of the box.
    pub image_name: Option<String>,
    /// What the image says of itself.
    pub image: ImageConfig,
}

/// `internal/docker-build`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerBuild {
    /// What later steps call the image.
    pub image_name: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// The directory of the context, relative to the source.
    pub context: Option<String>,
    /// The build arguments.
    pub build_args: Vec<(String, String)>,
    /// The labels of the image.
    pub labels: Vec<(String, String)>,
    /// Whether every instruction is built anew.
    pub no_cache: bool,
    /// Whether nothing but the end is told.
    pub quiet: bool,
    /// More names of hosts, as `name:address`.
    pub extra_hosts: Vec<String>,
    /// Whether the layers become one.
    pub squash: bool,
    /// Logins for base images, as JSON.
    pub registry_auth_config: Option<Template>,
}

/// `internal/docker-run`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerRun {
    /// What it is called, also in the network.
    pub name: String,
    /// The image: a name, or one of `docker-build`.
    pub image: String,
    /// Who logs in to fetch the image.
    pub auth: RegistryAuth,
    /// Its command and so on.
    pub config: ImageConfig,
}

/// `internal/publish-step`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishStep {
    /// Who publishes it.
    pub owner: Option<String>,
    /// The registry; the usual one without it.
    pub endpoint: Option<String>,
    /// The token, as it is written.
    pub auth_token: Option<Template>,
    /// The directory of the step, relative to the source.
    pub path: Option<String>,
    /// Whether nobody else finds it.
    pub private: bool,
}

/// Checks an internal step as far as it can be judged before variables have values.
pub fn check_internal(source: &Source, step: &StepRef, def: &StepDef) -> Vec<Diagnostic> {
    let mut told = Told::new(source, step, def, None);
    let _ = read(&mut told);
    told.finish()
}

/// Reads an internal step, with the variables that its values may use. What is returned beside it
/// are warnings, or the errors because of which there is none.
pub fn read_internal(
    source: &Source,
    step: &StepRef,
    def: &StepDef,
    look_up: &dyn Fn(&str) -> Option<String>,
) -> (Option<Internal>, Vec<Diagnostic>) {
    let mut told = Told::new(source, step, def, Some(look_up));
    let internal = read(&mut told);
    let diagnostics = told.finish();
    let broken = diagnostics.iter().any(Diagnostic::is_error);
    (internal.filter(|_| !broken), diagnostics)
}

fn read(told: &mut Told<'_>) -> Option<Internal> {
    Some(match told.step_name() {
        "docker-push" => Internal::DockerPush(docker_push(told)),
        "docker-scratch-push" => Internal::DockerScratchPush(docker_push(told)),
        "docker-build" => Internal::DockerBuild(docker_build(told)),
        "docker-run" => Internal::DockerRun(docker_run(told)),
        "docker-kill" => Internal::DockerKill { name: told.needed("name") },
        "store-container" => Internal::StoreContainer,
        "publish-step" => Internal::PublishStep(PublishStep {
            owner: told.text("owner"),
            endpoint: told.text("endpoint"),
            auth_token: told.template("auth-token"),
            path: told.text("path"),
            private: told.flag("private"),
        }),
        "watch" => Internal::Watch { code: told.needed("code"), reload: told.flag("reload") },
        "shell" => Internal::Shell { cmd: told.text("cmd"), code: told.text("code") },
        _ => {
            told.no_such_step();
            return None;
        }
    })
}

fn auth(told: &mut Told<'_>) -> RegistryAuth {
    told.without_effect(&["email"], "registries ask for no address any more");
    told.clouds();
    let registry = told.text("registry");
    let server = told.text("auth-server");
    RegistryAuth {
        username: told.template("username"),
        password: told.template("password"),
        registry: registry.or(server),
    }
}

fn docker_push(told: &mut Told<'_>) -> DockerPush {
    told.without_effect(
        &["disable-sync", "force-tags"],
        "the environment is always current, and tags are always moved",
    );
    let auth = auth(told);
    let tags = told.list("tag");
    for tag in &tags {
        told.check("tag", image::tag_problem(tag));
    }
    let repository = told.text("repository");
    let image_name = told.text("image-name");
    if repository.is_none() && image_name.is_none() {
        told.missing("repository");
    }
    DockerPush { auth, repository, tags, image_name, image: image::config(told, true) }
}

fn docker_build(told: &mut Told<'_>) -> DockerBuild {
    told.without_effect(&["disable-sync"], "the environment is always current");
    let registry_auth_config = told.template("registry-auth-config");
    let json = registry_auth_config.as_ref().and_then(Template::as_literal);
    if json.is_some_and(|text| serde_json::from_str::<serde_json::Value>(&text).is_err()) {
        told.check("registry-auth-config", Some("it is no JSON".into()));
    }
    DockerBuild {
        image_name: told.needed("image-name"),
        dockerfile: told.text("dockerfile"),
        context: told.text("context"),
        build_args: told.pairs("build-args"),
        labels: told.pairs("labels"),
        no_cache: told.flag("no-cache"),
        quiet: told.flag("q"),
        extra_hosts: told.list("extra-hosts"),
        squash: told.flag("squash"),
        registry_auth_config,
    }
}

fn docker_run(told: &mut Told<'_>) -> DockerRun {
    let auth = auth(told);
    let (name, image) = (told.needed("name"), told.needed("image"));
    DockerRun { name, image, auth, config: image::config(told, false) }
}
