//! The steps that are in Kiln itself, as steps of a plan.

use super::{
    StepCode,
    compose::{Chain, Composer, box_name},
};
use crate::{
    file::Place,
    step::{Internal, Template, read_internal},
};
use kiln::{Command, Op, RelPath, Step, secret::Value};

/// Properties that are no texts of a plan: those for a login, and code.
const NOT_IN_PLAN: [&str; 7] =
    ["username", "password", "auth-token", "registry-auth-config", "code", "cmd", "cwd"];

/// A directory by which files get out of the box.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// Where it is in the workspace.
    pub(super) path: RelPath,
    /// Where it is in the box.
    pub(super) in_box: String,
}

impl Composer<'_> {
    /// Adds an internal step to a chain.
    pub(super) fn internal(&mut self, chain: &mut Chain, code: &StepCode, name: &str) {
        self.check_variables(code);
        let look_up = |name: &str| self.scope.text(name);
        let (internal, found) = read_internal(self.recipe.source, &code.step, &code.def, &look_up);
        self.trouble.extend(found);
        let Some(internal) = internal else { return };
        let place = code.def.place();
        match internal {
            Internal::DockerPush(push) => self.docker_push(chain, code, name, &push),
            Internal::DockerScratchPush(push) => self.scratch_push(chain, code, name, &push),
            Internal::DockerBuild(build) => self.docker_build(chain, code, name, &build),
            Internal::DockerRun(_) | Internal::DockerKill { .. } => {
                let what = "a container cannot be started or stopped in the middle of a run";
                let help = "Name it under `services`: it is there from the beginning.";
                self.missing(place, what, help);
            }
            Internal::StoreContainer => {
                let help = "Push it with `internal/docker-push`, or commit the box at the end.";
                self.missing(place, "an image cannot be kept as an archive", help);
            }
            Internal::PublishStep(_) => {
                let help = "Publish it from your machine.";
                self.missing(place, "a run cannot publish a step", help);
            }
            Internal::Watch { reload, .. } => self.watch(chain, code, name, reload),
            Internal::Shell { .. } => self.shell(chain, code, name),
        }
    }

    /// Says what there is no operation for.
    pub(super) fn missing(&mut self, place: Place, what: &str, help: &str) {
        self.trouble.error(place, "not-supported", format!("not supported: {what}"), help);
    }

    /// What an internal step is told becomes part of the plan: all of it has to be known by then,
    /// and nothing of it can be a secret.
    fn check_variables(&mut self, code: &StepCode) {
        for property in &code.def.properties {
            let key = property.key.value.as_str();
            if NOT_IN_PLAN.contains(&key) && code.step.name != "docker-run" {
                continue;
            }
            for name in Template::parse(&property.value).variables() {
                let (problem, message, help) = match self.scope.all().get(name) {
                    Some(Value::Text(_)) => continue,
                    Some(_) => (
                        "secret-here",
                        format!("${name} is a secret, and `{key}` is there for all to see"),
                        "Use a variable that is no secret.",
                    ),
                    None => (
                        "unknown-variable",
                        format!("${name} is not known before the run"),
                        "An internal step knows the variables of the run, and none that steps export.",
                    ),
                };
                self.trouble.error(property.value.place, problem, message, help);
            }
        }
    }

    /// A directory of the workspace by which files get out of the box.
    pub(super) fn exchange(&mut self, code: &StepCode) -> Option<Exchange> {
        let path = RelPath::new(&code.safe_id).ok()?;
        let in_box = format!("{}/{path}", super::boxes::EXCHANGE);
        Some(Exchange { path: self.recipe.places.exchange.join(&path), in_box })
    }

    /// A command beside the shell of the chain, in its turn.
    pub(super) fn aside(&mut self, chain: &mut Chain, name: &str, text: String) {
        let op = Op::Exec { in_box: box_name(), command: Command::script(text) };
        let name = self.names.take(name);
        let timeout = self.command_timeout();
        self.link(chain, Step::new(name, op).timeout(timeout));
    }
}
