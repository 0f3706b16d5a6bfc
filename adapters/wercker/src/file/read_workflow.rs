//! Workflows: which pipelines run, and in which order.

use super::{
    PipelineDef, Place, Spanned, WorkflowDef, WorkflowPipeline,
    diagnostic::printable,
    keys,
    limits::{PIPELINES_MAX, WORKFLOW_PIPELINES_MAX},
    reader::Reader,
    text::nearest,
    yaml::{Kind, Node},
};
use std::collections::{HashMap, HashSet};

impl Reader<'_> {
    /// The list of workflows.
    pub(crate) fn workflows(&mut self, node: &Node) -> Vec<WorkflowDef> {
        let Some(list) = self.list(node, "`workflows`", "maps with `name` and `pipelines`") else {
            return Vec::new();
        };
        if !self.fits(node.place, list.len(), PIPELINES_MAX, "workflows") {
            return Vec::new();
        }
        let all: Vec<WorkflowDef> = list.iter().filter_map(|item| self.workflow(item)).collect();
        self.unique("workflow", all.iter().map(|w| &w.name));
        all
    }

    fn workflow(&mut self, node: &Node) -> Option<WorkflowDef> {
        let (mut name, mut pipelines) = (None, None);
        for (key, value) in self.entries(node, "a workflow")? {
            match key.as_str() {
                "name" => name = self.text(value, "the name of a workflow"),
                "pipelines" => {
                    let what = "the `pipelines` of a workflow";
                    let list = self.list(value, what, "maps with `name`")?;
                    if !self.fits(value.place, list.len(), WORKFLOW_PIPELINES_MAX, "pipelines") {
                        return None;
                    }
                    pipelines =
                        Some(list.iter().filter_map(|p| self.workflow_pipeline(p)).collect());
                }
                _ => self.unknown(&key, keys::WORKFLOW, "a workflow"),
            }
        }
        let name = self.needed(name, node.place, "a workflow", "name")?;
        let pipelines: Vec<_> = pipelines.unwrap_or_default();
        if pipelines.is_empty() {
            let message = format!("the workflow `{}` runs nothing", printable(&name, 60));
            let error = self.source.error(name.place, "empty-workflow", message);
            self.tell(error.expected("`pipelines:` with at least one `- name:`"));
        }
        Some(WorkflowDef { name, pipelines })
    }

    fn workflow_pipeline(&mut self, node: &Node) -> Option<WorkflowPipeline> {
        const WHAT: &str = "a pipeline of a workflow";
        let (mut name, mut pipeline_name, mut requires) = (None, None, Vec::new());
        let (mut artifact_pipeline, mut env_file) = (None, None);
        for (key, value) in self.entries(node, WHAT)? {
            let what = format!("`{}`", printable(&key, 60));
            match key.as_str() {
                "name" => name = self.text(value, &what),
                "pipelineName" => pipeline_name = self.text(value, &what),
                "artifactPipeline" => artifact_pipeline = self.text(value, &what),
                "envFile" => env_file = self.text(value, &what),
                "requires" => requires = self.names(value),
                _ => self.unknown(&key, keys::WORKFLOW_PIPELINE, WHAT),
            }
        }
        let name = self.needed(name, node.place, WHAT, "name")?;
        let pipeline_name = pipeline_name.unwrap_or_else(|| name.clone());
        Some(WorkflowPipeline { name, pipeline_name, requires, artifact_pipeline, env_file })
    }

    /// One name, or a list of names.
    fn names(&mut self, node: &Node) -> Vec<Spanned<String>> {
        match &*node.kind {
            Kind::List(list) => {
                let max = WORKFLOW_PIPELINES_MAX;
                let list =
                    if self.fits(node.place, list.len(), max, "names") { &list[..] } else { &[] };
                list.iter().filter_map(|n| self.text(n, "a name in `requires`")).collect()
            }
            _ => self.text(node, "`requires`").into_iter().collect(),
        }
    }

    fn needed(
        &mut self,
        value: Option<Spanned<String>>,
        place: Place,
        what: &str,
        key: &str,
    ) -> Option<Spanned<String>> {
        let value = value.filter(|v| !v.trim().is_empty());
        if value.is_none() {
            let error = self.source.error(place, "missing-key", format!("{what} has no `{key}`"));
            self.tell(error.expected(format!("`{key}:` and a text")));
        }
        value
    }

    fn unique<'n>(&mut self, what: &str, names: impl Iterator<Item = &'n Spanned<String>>) {
        let mut seen: HashMap<&str, Place> = HashMap::new();
        for name in names {
            if let Some(first) = seen.insert(name, name.place) {
                let message = format!("two have the name `{}`", printable(name, 60));
                let error = self.source.error(name.place, "duplicate-name", message);
                let error = error.related(first, "the other one is here");
                self.tell(error.expected(format!("another name for each {what}")));
            }
        }
    }

    /// What workflows say of pipelines, and of each other.
    pub(crate) fn check_workflow(&mut self, workflow: &WorkflowDef, pipelines: &[PipelineDef]) {
        let runs = &workflow.pipelines;
        self.unique("pipeline of a workflow", runs.iter().map(|p| &p.name));
        let known: Vec<&str> = pipelines.iter().map(|p| p.name.as_str()).collect();
        let names: Vec<&str> = runs.iter().map(|p| p.name.as_str()).collect();
        let mut whole = true;
        for run in runs {
            if !known.contains(&run.pipeline_name.as_str()) {
                self.undefined(&run.pipeline_name, "there is no pipeline", &known);
            }
            for name in run.requires.iter().chain(&run.artifact_pipeline) {
                if !names.contains(&name.as_str()) {
                    whole = false;
                    self.undefined(name, "the workflow has no", &names);
                }
            }
        }
        if whole && !runs.is_empty() {
            self.check_order(workflow);
        }
    }

    fn undefined(&mut self, name: &Spanned<String>, what: &str, known: &[&str]) {
        let message = format!("{what} `{}`", printable(name, 60));
        let error = self.source.error(name.place, "undefined-pipeline", message);
        self.tell(match nearest(name, known.iter().copied()) {
            Some(near) => error.help(format!("Did you mean `{near}`?")),
            None if known.is_empty() => error,
            None => error.expected(format!("one of `{}`", known.join("`, `"))),
        });
    }

    /// Exactly one begins, and none waits for itself.
    fn check_order(&mut self, workflow: &WorkflowDef) {
        let runs = &workflow.pipelines;
        let mut roots = runs.iter().filter(|run| run.requires.is_empty());
        let (first, second) = (roots.next(), roots.next());
        if let (Some(first), Some(second)) = (first, second) {
            let message = format!("`{}` and `{}` both begin", *first.name, *second.name);
            let error = self.source.error(second.name.place, "several-roots", message);
            let error = error.related(first.name.place, "the other one is here");
            self.tell(error.expected("exactly one pipeline without `requires`"));
        }
        let mut over: HashSet<&str> = HashSet::new();
        loop {
            let before = over.len();
            let ready = |run: &&WorkflowPipeline| {
                run.requires.iter().all(|name| over.contains(name.as_str()))
            };
            let ready: Vec<&str> = runs.iter().filter(ready).map(|run| run.name.as_str()).collect();
            over.extend(ready);
            if over.len() == before {
                break;
            }
        }
        let stuck: Vec<_> = runs.iter().filter(|run| !over.contains(run.name.as_str())).collect();
        let Some(one) = stuck.first() else { return };
        let names: Vec<&str> = stuck.iter().take(10).map(|run| run.name.as_str()).collect();
        let message = format!("`{}` wait for each other and never begin", names.join("`, `"));
        let error = self.source.error(one.name.place, "workflow-cycle", message);
        self.tell(
            error.expected("`requires` that name only pipelines which do not wait for this one"),
        );
    }
}
