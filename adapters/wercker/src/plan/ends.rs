//! What comes of a run: its output, its cache, its image.

use super::{
    Commit,
    compose::{Composer, box_name},
    images::PUSHES,
    scope::IsSecret,
};
use crate::file::{Place, Spanned};
use kiln::{
    Attempts, CacheKey, CommitSpec, ContainerRef, ImageFrom, ImageRef, Op, RelPath, Step, StepId,
    When,
};

/// How many bytes the output may have.
const OUTPUT_MAX: u64 = 5_000_000_000;
/// How many bytes the cache may have where nobody says it.
const CACHE_MAX: u64 = 1_000_000_000;

impl Composer<'_> {
    /// Adds what follows the steps. `tail` is the last step and the last after-step.
    pub(super) fn end(&mut self, tail: &[StepId]) {
        let mut last = tail.to_vec();
        last.extend(self.store(tail));
        last.extend(self.save(tail));
        if let Some(commit) = &self.settings.commit {
            self.commit(commit, "green", When::Success, &last);
            self.commit(commit, "red", When::Failure, &last);
        }
    }

    /// Puts the cache into the box.
    pub(super) fn restore(&mut self, ready: StepId) -> Option<StepId> {
        let (cache, bytes_max) = self.cache()?;
        let op = Op::Restore { cache, in_box: box_name(), path: self.paths.cache(), bytes_max };
        let name = self.names.take("restore cache");
        Some(self.builder.step(Step::new(name, op).after(ready).may_fail()))
    }

    fn save(&mut self, tail: &[StepId]) -> Option<StepId> {
        let (cache, bytes_max) = self.cache()?;
        let op = Op::Save { cache, in_box: box_name(), path: self.paths.cache(), bytes_max };
        let name = self.names.take("save cache");
        let mut step = Step::new(name, op).when(When::Always).may_fail();
        step.needs = tail.to_vec();
        Some(self.builder.step(step))
    }

    /// Steps that work on a directory of the host itself have what they left there.
    fn cache(&mut self) -> Option<(CacheKey, u64)> {
        let cache = self.settings.cache.as_ref()?;
        if self.settings.direct_mount.is_some() {
            return None;
        }
        match CacheKey::new(&cache.key) {
            Ok(key) => Some((key, cache.bytes_max.unwrap_or(CACHE_MAX))),
            Err(e) => {
                self.setting("bad-cache", &e.to_string());
                None
            }
        }
    }

    /// Keeps the output, or the source where nothing was put out.
    fn store(&mut self, tail: &[StepId]) -> Option<StepId> {
        if !self.settings.artifacts {
            return None;
        }
        let op = Op::Collect {
            in_box: box_name(),
            paths: vec![self.paths.output(), self.paths.root()],
            name: RelPath::new(super::OUTPUT).ok()?,
            bytes_max: OUTPUT_MAX,
            optional: true,
        };
        let name = self.names.take("store output");
        let mut step = Step::new(name, op);
        step.needs = tail.to_vec();
        Some(self.builder.step(step))
    }

    /// An image of the box for one outcome, under all its tags, and their pushes.
    fn commit(&mut self, commit: &Commit, outcome: &str, when: When, last: &[StepId]) {
        let Some(repository) = self.repository(&commit.repository) else { return };
        let id = self.recipe.run_id.to_owned();
        let more = commit.tags.iter().map(|tag| tag.replace('/', "_"));
        let mut tags: Vec<ImageRef> = Vec::new();
        for tag in [id, "latest".into(), outcome.into()].into_iter().chain(more) {
            match repository.with_tag(&tag) {
                Ok(image) if tags.contains(&image) => {}
                Ok(image) => tags.push(image),
                Err(e) => return self.setting("bad-tag", &e.to_string()),
            }
        }
        let spec = CommitSpec {
            tags: tags.clone(),
            message: commit.message.clone(),
            ..CommitSpec::default()
        };
        let op = Op::Commit { container: ContainerRef::Box(box_name()), spec };
        let name = self.names.take(&format!("commit {outcome}"));
        let mut step = Step::new(name, op).when(when);
        step.needs = last.to_vec();
        let made = self.builder.step(step);
        let mut before = made;
        for to in tags.iter().filter(|_| commit.push) {
            let op = Op::Push {
                image: ImageFrom::Step(made),
                to: to.clone(),
                credentials: self.settings.logins.get(to.registry()).cloned(),
            };
            let name = self.names.take(&format!("push {to}"));
            let step = Step::new(name, op).attempts(Attempts::up_to(PUSHES)).when(when);
            before = self.push(step, [made, before], last);
        }
    }

    /// One push after the other: side by side they would be in each other's way. A push of the
    /// image of a failure is one of its handlers, and runs only if there was one.
    fn push(&mut self, mut step: Step, after: [StepId; 2], last: &[StepId]) -> StepId {
        step.needs = after.to_vec();
        if step.when == When::Failure {
            step.needs.extend(last);
        }
        step.needs.sort();
        step.needs.dedup();
        self.builder.step(step)
    }

    fn repository(&mut self, name: &str) -> Option<ImageRef> {
        match ImageRef::parse(name) {
            Ok(image) if image == image.without_tag() => Some(image),
            Ok(image) => {
                let problem = format!("`{image}` has a tag; the tags of a run are added to it");
                self.setting("bad-repository", &problem);
                None
            }
            Err(e) => {
                self.setting("bad-repository", &e.to_string());
                None
            }
        }
    }

    /// The repository of checkpoints: that of the run's image, or one after the application.
    pub(super) fn checkpoints(&mut self, place: Place) -> Option<ImageRef> {
        if let Some(commit) = &self.settings.commit {
            return self.repository(&commit.repository);
        }
        let name = self.settings.application.name.as_deref().unwrap_or("app").to_lowercase();
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
            .collect();
        let image = ImageRef::parse(&format!("kiln-checkpoint/{}", name.trim_matches('-')))
            .or_else(|_| ImageRef::parse("kiln-checkpoint/app"));
        image.map_err(|e| self.trouble.error(place, "bad-checkpoint", e.to_string(), "")).ok()
    }

    /// Something is wrong with what the run is told, and not with the file.
    fn setting(&mut self, code: &'static str, problem: &str) {
        let place = self.recipe.pipeline.name.place;
        let message = format!("the settings of the run are wrong: {problem}");
        self.trouble.error(place, code, message, "");
    }

    /// A text of the file with its variables filled in.
    pub(super) fn expanded(&mut self, text: &Spanned<String>, what: &str) -> Option<String> {
        match self.scope.expand(text) {
            Ok(text) => Some(text),
            Err(IsSecret(name)) => {
                let message = format!("${name} is a secret, and {what} is there for all to see");
                let help = "Use a variable that is no secret.";
                self.trouble.error(text.place, "secret-here", message, help);
                None
            }
        }
    }
}
