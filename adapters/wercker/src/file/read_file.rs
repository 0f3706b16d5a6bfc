//! The file itself and its pipelines.

use super::{
    File, Parsed, PipelineDef, Place, Source, Spanned, TargetDef,
    diagnostic::printable,
    keys,
    limits::{FILE_BYTES_MAX, PIPELINES_MAX},
    reader::Reader,
    text::{has_variable, nearest},
    yaml::{self, Kind, Node},
};

impl File {
    /// Reads a file. `name` is what diagnostics call it.
    ///
    /// Any bytes give an answer: what is too large, too deep or no YAML is an error like any other.
    pub fn parse(name: &str, text: &[u8]) -> Parsed {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let source =
            Source::new(name, &String::from_utf8_lossy(&text[..text.len().min(FILE_BYTES_MAX)]));
        let mut reader = Reader::new(&source);
        let file = if let Some(error) = unreadable(&source, text) {
            reader.tell(error);
            None
        } else {
            let root = yaml::read(&source, &mut reader.found);
            if root.is_none() && !reader.has_errors() {
                let error = source.error(START, "empty-file", "the file is empty");
                reader.tell(error.expected("`box:` and a pipeline, such as `build:`"));
            }
            root.and_then(|root| reader.file(&root))
        };
        let whole = !reader.has_errors();
        let Reader { mut found, more, .. } = reader;
        found.sort_by_key(|d| (d.line, d.column, d.severity));
        // What aliases refer to is read wherever they are.
        found.dedup();
        if more > 0 {
            let place = Place { start: source.text().len(), end: source.text().len(), ..START };
            found.push(source.warning(place, "more", format!("{more} more are not shown")));
        }
        Parsed { file: file.filter(|_| whole), diagnostics: found }
    }
}

const START: Place = Place { start: 0, end: 0, line: 1, column: 1 };

/// What keeps a text from being read at all.
fn unreadable(source: &Source, text: &[u8]) -> Option<super::Diagnostic> {
    if text.len() > FILE_BYTES_MAX {
        let message =
            format!("the file has {} bytes, which is more than {FILE_BYTES_MAX}", text.len());
        let error = source.error(START, "too-large", message);
        return Some(error.help("Put long values into files of the project."));
    }
    let (at, code, message, expected) = match std::str::from_utf8(text) {
        Err(error) => (error.valid_up_to(), "not-utf8", "the file is no UTF-8", "a text in UTF-8"),
        Ok(text) => {
            let at = text.find('\0')?;
            (at, "nul", "the file has a NUL character", "text without NUL")
        }
    };
    let before = String::from_utf8_lossy(&text[..at]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let place = Place { start: at, end: at, line: number(line), column: number(column) };
    let error = source.error(place, code, format!("{message} (byte {at})"));
    Some(error.expected(expected).hidden())
}

impl Reader<'_> {
    fn file(&mut self, root: &Node) -> Option<File> {
        let mut file = File {
            source: self.source.clone(),
            box_def: None,
            services: None,
            command_timeout: None,
            no_response_timeout: None,
            source_dir: None,
            ignore_file: None,
            pipelines: Vec::new(),
            workflows: Vec::new(),
        };
        let entries = self.entries(root, "the file")?;
        if !self.fits(root.place, entries.len(), PIPELINES_MAX, "keys") {
            return None;
        }
        for (key, value) in entries {
            match key.as_str() {
                "box" => file.box_def = self.box_def(value, "the box"),
                "services" => file.services = self.services(value),
                "command-timeout" => {
                    file.command_timeout = self.minutes(value, "`command-timeout`")
                }
                "no-response-timeout" => {
                    file.no_response_timeout = self.minutes(value, "`no-response-timeout`");
                }
                "source-dir" => file.source_dir = self.relative(value, "`source-dir`"),
                "ignore-file" => file.ignore_file = self.relative(value, "`ignore-file`"),
                "workflows" => file.workflows = self.workflows(value),
                _ => file.pipelines.extend(self.pipeline(key, value)),
            }
        }
        self.check(&file);
        Some(file)
    }

    /// What only the whole file shows.
    fn check(&mut self, file: &File) {
        if self.has_errors() {
            return;
        }
        if file.pipelines.is_empty() {
            let warning = self.source.warning(START, "no-pipelines", "the file has no pipeline");
            self.tell(warning.expected("a key such as `build:` with a list `steps:`"));
        }
        if file.box_def.is_none() {
            for def in file.pipelines.iter().filter(|p| p.box_def.is_none() && runs(p)) {
                let error = file.no_box(def);
                self.tell(error);
            }
        }
        for workflow in &file.workflows {
            self.check_workflow(workflow, &file.pipelines);
        }
    }

    /// Any key that the file has none of is a pipeline.
    fn pipeline(&mut self, name: Spanned<String>, node: &Node) -> Option<PipelineDef> {
        let shown = printable(&name, 60);
        let is_map = matches!(*node.kind, Kind::Map(_));
        let meant = nearest(&name, keys::TOP.iter().map(|key| key.name));
        if let Some(meant) = meant.filter(|_| !is_map) {
            let message = format!("`{shown}` is no key of the file, and no pipeline either");
            let warning = self.source.warning(name.place, "unknown-key", message);
            self.tell(warning.help(format!("Did you mean `{meant}`?")));
            return None;
        }
        let holder = node.anchored && !has_steps(node);
        if holder {
            // What only holds values for aliases is read where they are.
            return None;
        }
        if !is_map && !matches!(*node.kind, Kind::Null) {
            self.wrong(node, &format!("the pipeline `{shown}`"), "a map with `steps`");
            return None;
        }
        let mut def = PipelineDef {
            name,
            box_def: None,
            services: None,
            steps: Vec::new(),
            after_steps: Vec::new(),
            base_path: None,
            docker: None,
            targets: Vec::new(),
        };
        let what = format!("the pipeline `{shown}`");
        for (key, value) in self.entries(node, &what)? {
            match key.as_str() {
                "box" => def.box_def = self.box_def(value, "the box"),
                "services" => def.services = self.services(value),
                "steps" => def.steps = self.steps(value, "`steps`"),
                "after-steps" => def.after_steps = self.steps(value, "`after-steps`"),
                "base-path" => def.base_path = self.absolute(value, "`base-path`"),
                "docker" => def.docker = self.docker(&key, value),
                _ => def.targets.extend(self.target(key, value)),
            }
        }
        if !runs(&def) && !self.has_errors() {
            let warning =
                self.source.warning(def.name.place, "no-steps", format!("{what} has no steps"));
            self.tell(warning.expected("a list `steps:`"));
        }
        Some(def)
    }

    /// Any key that a pipeline has none of is a deploy target.
    fn target(&mut self, name: Spanned<String>, node: &Node) -> Option<TargetDef> {
        let shown = printable(&name, 60);
        let meant = nearest(&name, keys::PIPELINE.iter().map(|key| key.name));
        if !matches!(*node.kind, Kind::List(_)) {
            let global = keys::has(keys::TOP, &name).then(|| name.value.clone());
            let message = format!("`{shown}` means nothing in a pipeline");
            let warning = self.source.warning(name.place, "unknown-key", message);
            self.tell(match (meant, global) {
                (Some(meant), _) => warning.help(format!("Did you mean `{meant}`?")),
                (None, Some(global)) => warning
                    .help(format!("`{global}` belongs to the file: write it at the left margin.")),
                (None, None) => warning.expected("a list of steps, which makes it a deploy target"),
            });
            return None;
        }
        if let Some(meant) = meant {
            let message = format!("`{shown}` is taken for a deploy target");
            let warning = self.source.warning(name.place, "unknown-key", message);
            self.tell(warning.help(format!("Did you mean `{meant}`?")));
        }
        let steps = self.steps(node, &format!("the deploy target `{shown}`"));
        Some(TargetDef { name, steps })
    }

    fn docker(&mut self, key: &Spanned<String>, value: &Node) -> Option<Spanned<bool>> {
        let docker = self.boolean(value, "`docker`")?;
        if docker.value {
            let message =
                "`docker: true` has no effect: a box is not given the socket of the engine";
            let warning = self.source.warning(key.place, "unsupported-key", message);
            self.tell(warning.help("Use `internal/docker-build` and `internal/docker-push`."));
        }
        Some(docker)
    }

    /// A path in the project.
    fn relative(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        let text = self.text(node, what)?;
        let inside = !text.starts_with('/') && text.split('/').all(|part| part != "..");
        if inside || has_variable(&text) && !text.contains("..") {
            return Some(text);
        }
        let error =
            self.source.error(text.place, "path", format!("{what} leads out of the project"));
        self.tell(error.expected("a path from the directory of the file on, without `..`"));
        None
    }

    /// A path in the box.
    fn absolute(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        let text = self.text(node, what)?;
        let fine = text.starts_with('/') && text.split('/').all(|part| part != "..");
        if fine && !text.trim_matches('/').is_empty() {
            return Some(text);
        }
        let error =
            self.source.error(text.place, "path", format!("{what} is no directory of the box"));
        self.tell(error.expected("an absolute path without `..`, such as `/pipeline`"));
        None
    }
}

/// Whether a pipeline runs anything.
fn runs(def: &PipelineDef) -> bool {
    !def.steps.is_empty() || !def.targets.is_empty() || !def.after_steps.is_empty()
}

fn has_steps(node: &Node) -> bool {
    let Kind::Map(pairs) = &*node.kind else { return false };
    let is_steps = |key: &Node| matches!(&*key.kind, Kind::Text { text, .. } if text == "steps");
    pairs.iter().any(|(key, _)| is_steps(key))
}
