//! Steps of a pipeline as steps of a plan.

use super::{
    StepCode,
    compose::{Chain, Composer, box_name},
};
use crate::step::{MESSAGE, NUMBERS, StepSource, StepText, Template, display_name, exports};
use kiln::{Command, CommitSpec, ContainerRef, Op, RelPath, Step, StepId, When};

/// How many bytes the artifacts of one step may have.
const ARTIFACTS_MAX: u64 = 5_000_000_000;

impl Composer<'_> {
    /// Adds a step of the pipeline to its chain.
    pub(super) fn step(&mut self, chain: &mut Chain, code: &StepCode) {
        let name = display_name(code.def.property("name").map(|n| n.as_str()), &code.step);
        if code.step.source == StepSource::Internal {
            self.internal(chain, code, &name);
        } else {
            let step = self.command(chain, code, &name);
            let id = self.link(chain, step);
            self.artifacts(id, code);
        }
        self.checkpoint(chain, code);
    }

    /// The command that a step is.
    fn command(&mut self, chain: &mut Chain, code: &StepCode, name: &str) -> Step {
        let made = exports(self.recipe.source, &code.step, &code.def, code.manifest.as_ref());
        self.trouble.extend(made.diagnostics);
        let cwd = code.def.property("cwd").map(|cwd| Template::parse(cwd));
        let text = StepText {
            paths: &self.paths,
            safe_id: &code.safe_id,
            owner: &code.step.owner,
            name: &code.step.name,
            exports: &made.exports,
            cwd: cwd.as_ref(),
            init: code.init,
            run: code.run,
        };
        self.exec(chain, name, &text.text(), &code.safe_id)
    }

    /// A text that the shell of the chain evaluates.
    pub(super) fn exec(&mut self, chain: &mut Chain, name: &str, text: &str, id: &str) -> Step {
        let (opening, env) = chain.opening.take().unwrap_or_default();
        let mut command = Command::in_session(chain.session.clone(), format!("{opening}{text}"))
            .note(MESSAGE, self.paths.message_file(id))
            .note(NUMBERS, self.paths.numbers_file(id));
        command.env = env;
        let name = self.names.take(name);
        let mut step = Step::new(name, Op::Exec { in_box: box_name(), command })
            .timeout(self.command_timeout());
        step.quiet = Some(self.no_response_timeout()).filter(|time| !time.is_zero());
        step
    }

    /// Keeps what a step left to be looked at, whatever became of the step. Nobody waits for that.
    fn artifacts(&mut self, of: StepId, code: &StepCode) {
        if !self.settings.artifacts {
            return;
        }
        let Ok(artifact) = RelPath::new(format!("step/{}/output.tar", code.safe_id)) else {
            return;
        };
        let op = Op::Collect {
            in_box: box_name(),
            paths: vec![self.paths.artifacts_dir(&code.safe_id)],
            name: artifact,
            bytes_max: ARTIFACTS_MAX,
            optional: true,
        };
        let name = self.names.take(&format!("store artifacts of {}", code.safe_id));
        self.builder.step(Step::new(name, op).after(of).when(When::Always).may_fail());
    }

    /// Makes an image of the box after a step that says so, or after every one.
    fn checkpoint(&mut self, chain: &mut Chain, code: &StepCode) {
        let written = code.def.property("checkpoint").filter(|tag| !tag.is_empty());
        if written.is_none() && !self.settings.checkpoints {
            return;
        }
        let place = written.map_or(code.def.place(), |tag| tag.place);
        let tag = match written {
            Some(tag) => self.expanded(tag, "the name of an image"),
            None => Some(code.safe_id.clone()),
        };
        let (Some(tag), Some(repository)) = (tag, self.checkpoints(place)) else { return };
        let image = match repository.with_tag(&format!("w-{tag}")) {
            Ok(image) => image,
            Err(e) => {
                let message = format!("`{tag}` is no name for a checkpoint: {e}");
                let help = "Use letters, digits and the marks `_`, `.` and `-`.";
                return self.trouble.error(place, "bad-checkpoint", message, help);
            }
        };
        let name = self.names.take(&format!("commit {image}"));
        let spec = CommitSpec {
            tags: vec![image],
            message: Some(format!("after {}", code.safe_id)),
            ..CommitSpec::default()
        };
        let op = Op::Commit { container: ContainerRef::Box(box_name()), spec };
        self.link(chain, Step::new(name, op));
    }
}
