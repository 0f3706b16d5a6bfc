//! What the engine says while it works, as log and progress.

use bollard::{
    moby::buildkit::v1::{StatusResponse, Vertex},
    models::{BuildInfo, BuildInfoAux, ProgressDetail},
};
use kiln::{
    StepLog,
    port::{Progress, ProgressUnit, Stream},
};
use std::collections::{BTreeMap, HashMap};

/// Renders one build.
#[derive(Debug, Default)]
pub(crate) struct BuildLog {
    vertexes: HashMap<String, Seen>,
    layers: BTreeMap<String, String>,
    /// The id of the image, once the engine said it.
    pub(crate) image: Option<String>,
    /// What the step that failed said of it.
    pub(crate) failed: Option<String>,
}

#[derive(Debug, Default)]
struct Seen {
    number: usize,
    name: String,
    started: bool,
    over: bool,
}

impl BuildLog {
    /// Takes in one message.
    pub(crate) async fn take(&mut self, log: &StepLog, info: BuildInfo) {
        if let Some(text) = info.stream {
            // The classic builder colours standard error and has no other way to tell it.
            match text.strip_prefix("\u{1b}[91m").and_then(|t| t.strip_suffix("\u{1b}[0m")) {
                Some(text) => log.write(Stream::Stderr, text.as_bytes()).await,
                None => log.write(Stream::Stdout, text.as_bytes()).await,
            }
        }
        if let Some(status) = info.status {
            layer(log, &mut self.layers, info.id.as_deref(), &status, info.progress_detail);
        }
        match info.aux {
            Some(BuildInfoAux::Default(image)) => self.image = image.id,
            Some(BuildInfoAux::BuildKit(status)) => self.kit(log, status).await,
            None => {}
        }
    }

    async fn kit(&mut self, log: &StepLog, status: StatusResponse) {
        for vertex in status.vertexes {
            self.vertex(log, vertex).await;
        }
        for s in status.statuses {
            let number = self.number(&s.vertex);
            let total = u64::try_from(s.total).ok().filter(|t| *t > 0);
            log.progress(Progress {
                item: format!("#{number} {}", s.id),
                action: if s.name.is_empty() { "Working".into() } else { s.name },
                done: u64::try_from(s.current).unwrap_or(0),
                total: if s.completed.is_some() { Some(s.current.max(0) as u64) } else { total },
                unit: ProgressUnit::Bytes,
            });
        }
        for l in status.logs {
            let stream = if l.stream == 2 { Stream::Stderr } else { Stream::Stdout };
            log.write(stream, &l.msg).await;
        }
        for w in status.warnings {
            let text = String::from_utf8_lossy(&w.short).into_owned();
            log.line(format!("warning: {text}"));
        }
    }

    async fn vertex(&mut self, log: &StepLog, vertex: Vertex) {
        let number = self.number(&vertex.digest);
        let Some(seen) = self.vertexes.get_mut(&vertex.digest) else { return };
        seen.name.clone_from(&vertex.name);
        if !seen.started && (vertex.started.is_some() || vertex.cached) {
            seen.started = true;
            log.line(format!("#{number} {}", vertex.name));
        }
        if !seen.over && vertex.completed.is_some() {
            seen.over = true;
            if vertex.cached {
                log.line(format!("#{number} CACHED"));
            } else if vertex.error.is_empty() {
                let time = match (vertex.started, vertex.completed) {
                    (Some(a), Some(b)) => {
                        (b.seconds - a.seconds) as f64 + f64::from(b.nanos - a.nanos) / 1e9
                    }
                    _ => 0.0,
                };
                log.line(format!("#{number} DONE {time:.1}s"));
            } else {
                log.line(format!("#{number} ERROR: {}", vertex.error));
                self.failed.get_or_insert(format!("{}: {}", vertex.name, vertex.error));
            }
        }
    }

    fn number(&mut self, digest: &str) -> usize {
        let next = self.vertexes.len() + 1;
        self.vertexes
            .entry(digest.to_owned())
            .or_insert_with(|| Seen { number: next, ..Seen::default() })
            .number
    }
}

/// Renders what is said of a layer that is pulled or pushed: numbers as progress, new words as lines.
pub(crate) fn layer(
    log: &StepLog,
    layers: &mut BTreeMap<String, String>,
    id: Option<&str>,
    status: &str,
    detail: Option<ProgressDetail>,
) {
    let detail = detail.unwrap_or_default();
    if id.is_none() && detail.current.is_none() {
        if layers.insert(String::new(), status.to_owned()).as_deref() != Some(status) {
            log.line(status);
        }
        return;
    }
    // While it pushes, the engine's client does not say which layer it tells of.
    let id = id.unwrap_or("layers");
    if let Some(done) = detail.current {
        log.progress(Progress {
            item: id.to_owned(),
            action: status.to_owned(),
            done: u64::try_from(done).unwrap_or(0),
            total: detail.total.and_then(|t| u64::try_from(t).ok()).filter(|t| *t > 0),
            unit: ProgressUnit::Bytes,
        });
    }
    if layers.get(id).map(String::as_str) != Some(status) {
        layers.insert(id.to_owned(), status.to_owned());
        log.line(format!("{id}: {status}"));
    }
}
