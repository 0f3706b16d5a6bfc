use super::{Diagnostic, File, Pipeline, PipelineDef, Place, text::nearest};

impl File {
    /// A pipeline by its name, with everything that holds for it: its own box and services or, where
    /// it has none, the file's, and the steps of the deploy target or, where that has none, its own.
    ///
    /// Fails if there is no such pipeline, or no box for it. The diagnostic says what there is.
    pub fn pipeline(
        &self,
        name: &str,
        deploy_target: Option<&str>,
    ) -> Result<Pipeline, Box<Diagnostic>> {
        let Some(def) = self.pipelines.iter().find(|p| *p.name == name) else {
            return Err(Box::new(self.no_pipeline(name)));
        };
        let Some(box_def) = def.box_def.as_ref().or(self.box_def.as_ref()) else {
            return Err(Box::new(self.no_box(def)));
        };
        let target = deploy_target.and_then(|t| def.targets.iter().find(|d| *d.name == t));
        let steps = target.map_or(&def.steps, |target| &target.steps);
        let services = def.services.as_ref().or(self.services.as_ref());
        Ok(Pipeline {
            name: def.name.clone(),
            target: target.map(|target| target.name.clone()),
            box_def: box_def.clone(),
            services: services.cloned().unwrap_or_default(),
            steps: steps.clone(),
            after_steps: def.after_steps.clone(),
            base_path: def.base_path.clone(),
            docker: def.docker.as_ref().is_some_and(|docker| docker.value),
            command_timeout: self.command_timeout,
            no_response_timeout: self.no_response_timeout,
            source_dir: self.source_dir.clone(),
            ignore_file: self.ignore_file.clone(),
        })
    }

    fn no_pipeline(&self, name: &str) -> Diagnostic {
        let place = Place { line: 1, column: 1, ..Place::default() };
        let shown = super::diagnostic::printable(name, 100);
        let error =
            self.source.error(place, "no-pipeline", format!("there is no pipeline `{shown}`"));
        let names: Vec<&str> = self.pipelines.iter().map(|p| p.name.as_str()).collect();
        let error = match names.as_slice() {
            [] => error.expected("a key `build:` with a list `steps:`"),
            names => error.expected(format!("one of `{}`", names.join("`, `"))),
        };
        match nearest(name, names) {
            Some(near) => error.help(format!("Did you mean `{near}`?")),
            None => error,
        }
    }

    /// That a pipeline has no box, and neither has the file.
    pub(crate) fn no_box(&self, def: &PipelineDef) -> Diagnostic {
        let message = format!("the pipeline `{}` has no box", *def.name);
        self.source
            .error(def.name.place, "no-box", message)
            .expected("`box:` with the name of an image, in the pipeline or for the whole file")
            .help("Write `box: debian:stable`, say, as the first line of the file.")
    }
}
