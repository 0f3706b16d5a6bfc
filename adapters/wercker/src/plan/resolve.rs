//! Brings the code of steps into the workspace.

use super::{StepCode, planner::WerckerPlanner, workspace};
use crate::{
    file::{Diagnostic, Source, StepDef},
    step::{
        MANIFEST_MAX, Manifest, Refresh, Run, STEP_YML, StepRef, StepSource, WERCKER_STEP_YML,
        copy_local, local_path, script,
    },
};
use kiln::{Error, ErrorKind, RelPath, Result, SourceSpec, StepCx, port::PlanAsk};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const OP: &str = "Planner::plan";

/// Brings steps into the workspace, each into a directory of its own.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    pub(super) planner: &'a WerckerPlanner,
    pub(super) cx: &'a StepCx,
    pub(super) ask: &'a PlanAsk<'a>,
    pub(super) source: &'a Source,
    /// Where the project is, which local steps are relative to.
    pub(super) project: PathBuf,
    /// The directory of all steps.
    pub(super) steps: PathBuf,
    pub(super) refresh: Refresh,
    pub(super) local: bool,
    /// Where steps are that were needed before, and in which version.
    pub(super) known: BTreeMap<String, (PathBuf, String)>,
    pub(super) found: Vec<Diagnostic>,
}

impl Resolver<'_> {
    /// Brings the code of a step; none if something is wrong with what the file says of it.
    pub(super) async fn bring(&mut self, n: usize, def: &StepDef) -> Result<Option<StepCode>> {
        let step = match StepRef::parse(&def.id) {
            Ok(step) => step,
            Err(e) => {
                let error = self.source.error(def.place(), "bad-step", e.to_string());
                self.found.push(error.expected("`[owner/]name[@version][ \"url\"]`"));
                return Ok(None);
            }
        };
        let safe_id = step.safe_id(n);
        let into = self.steps.join(&safe_id);
        if step.source == StepSource::Internal {
            let mut code = StepCode { manifest: None, ..bare(def, step, safe_id) };
            code.run = Run::Nothing;
            return Ok(Some(code));
        }
        if step.is_script() {
            let Some(text) = def.property("code") else {
                let error = self.source.error(def.place(), "no-code", "a `script` has no `code`");
                self.found.push(error.expected("`code:` with what is to be run"));
                return Ok(None);
            };
            workspace::fresh(&into)?;
            workspace::write(&into.join("run.sh"), &script(text))?;
            let run = Run::of(text.as_bytes());
            return Ok(Some(StepCode { run, ..bare(def, step, safe_id) }));
        }
        let from = match self.locate(&step).await {
            Ok(from) => from,
            // The user's, and at a place of the file.
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Denied
                ) =>
            {
                let error =
                    self.source.error(def.place(), "no-step", format!("step `{step}`: {e}"));
                let hint = e.hint_text().map(str::to_owned);
                self.found.push(match hint {
                    Some(hint) => error.help(hint),
                    None => error,
                });
                return Ok(None);
            }
            Err(e) => return Err(e.with("step", &step)),
        };
        copy(from, into.clone()).await?;
        self.read(def, step, safe_id, &into).map(Some)
    }

    /// What is in the directory of a step.
    fn read(
        &mut self,
        def: &StepDef,
        step: StepRef,
        safe_id: String,
        dir: &Path,
    ) -> Result<StepCode> {
        let name = |name| RelPath::new(name).unwrap_or_default();
        let mut code = bare(def, step, safe_id);
        code.init = workspace::head(dir, &name("init.sh"))?.is_some();
        code.run =
            workspace::head(dir, &name("run.sh"))?.map_or(Run::Nothing, |text| Run::of(&text));
        if !code.init && code.run == Run::Nothing {
            let message = format!("step `{}` has neither a `run.sh` nor an `init.sh`", code.step);
            self.found.push(self.source.error(def.place(), "empty-step", message));
        }
        for file in [STEP_YML, WERCKER_STEP_YML] {
            let Some(text) = workspace::read(dir, &name(file), MANIFEST_MAX as u64)? else {
                continue;
            };
            let shown = format!("{}/{file}", code.step);
            let read = Manifest::parse(&shown, &text);
            self.found.extend(read.diagnostics);
            code.manifest = read.manifest;
            break;
        }
        Ok(code)
    }

    /// A directory in which the code of a step is.
    async fn locate(&mut self, step: &StepRef) -> Result<PathBuf> {
        let key = step.to_string();
        if let Some((path, _)) = self.known.get(&key) {
            return Ok(path.clone());
        }
        let (path, version, place) = match &step.source {
            StepSource::Local(path) => {
                if !self.local {
                    let message = "a step cannot be a directory here";
                    return Err(Error::new(ErrorKind::Denied, OP, message)
                        .hint("Publish it, or run on your own machine with local steps allowed."));
                }
                let path = local_path(&self.project, path)?;
                let place = path.display().to_string();
                (path, String::new(), place)
            }
            StepSource::Archive(url) => {
                (self.fetch(url, None).await?, String::new(), shown(url).to_owned())
            }
            _ => self.registered(step).await?,
        };
        let exact = if version.is_empty() { String::new() } else { format!("@{version}") };
        self.cx.log.line(format!("step {}/{}{exact} from {place}", step.owner, step.name));
        self.known.insert(key, (path.clone(), version));
        Ok(path)
    }

    /// Asks the registry, and fetches what is not kept from before.
    async fn registered(&mut self, step: &StepRef) -> Result<(PathBuf, String, String)> {
        let WerckerPlanner { registry, cache, clock, .. } = self.planner;
        let StepRef { owner, name, version, .. } = step;
        let asked = (owner.as_str(), name.as_str(), version.as_str());
        let work = cache.resolve(&**registry, asked, self.refresh, clock.now());
        let resolved = self.cx.cancel.race(work).await.map_err(|_| self.cx.cancelled(OP))??;
        if let Some(warning) = &resolved.warning {
            self.cx.log.line(format!("warning: {warning}"));
        }
        let found = resolved.found;
        if let Some(kept) = resolved.kept {
            return Ok((kept, found.version, "the cache of steps".into()));
        }
        let fetched = self.fetch(&found.tarball_url, found.sha256.as_ref()).await?;
        let (cache, owner, name, exact) =
            (cache.clone(), owner.clone(), name.clone(), found.version.clone());
        let kept = blocking(move || cache.put(&owner, &name, &exact, &fetched)).await?;
        Ok((kept, found.version, shown(&found.tarball_url).to_owned()))
    }

    /// Fetches an archive; where all of it is one directory, the step is that.
    async fn fetch(&mut self, url: &str, digest: Option<&kiln::Digest>) -> Result<PathBuf> {
        let into = RelPath::new(format!("fetched/{}", self.known.len()))
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
        let mut spec = SourceSpec::new(archive(url));
        spec.reference = digest.map(ToString::to_string);
        self.ask.sources.fetch(&spec, &into).await?;
        let dir = into.below(&self.cx.workspace);
        Ok(match workspace::only_directory(&dir)? {
            Some(only) => dir.join(only),
            None => dir,
        })
    }
}

fn bare(def: &StepDef, step: StepRef, safe_id: String) -> StepCode {
    StepCode { def: def.clone(), step, safe_id, manifest: None, init: false, run: Run::Sourced }
}

/// The source of an archive, whatever its URL ends in.
fn archive(url: &str) -> String {
    format!("archive+{url}")
}

/// A URL without its query, which may hold a signature.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

async fn copy(from: PathBuf, to: PathBuf) -> Result<()> {
    blocking(move || copy_local(&from, &to)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?
}
