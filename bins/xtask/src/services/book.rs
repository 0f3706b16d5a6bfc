//! `services.json`: what runs, where, and how to stop it.
//!
//! Tests read it through `KILN_TEST_SERVICES`. Version 1 is
//! `{"version": 1, "services": {"<name>": {"url": …, …}}}`; docs/development.md lists the fields.

use super::{Service, container, engine};
use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use crate::process::{Process, Signal};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VERSION: u64 = 1;

/// What runs.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    entries: Vec<(String, Entry)>,
}

/// One running service.
#[derive(Debug, Clone)]
pub(crate) struct Entry(Map<String, Value>);

impl Entry {
    /// An entry from a JSON object.
    pub(crate) fn new(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            _ => Self(Map::new()),
        }
    }

    /// The same with one more field.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.into(), value.into());
        self
    }

    /// The same with the process that has to be stopped.
    pub(crate) fn with_process(self, process: &Process) -> Self {
        self.with("pid", process.pid).with("started", process.started.as_str())
    }

    /// A field that is text.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    fn process(&self) -> Option<Process> {
        let pid = u32::try_from(self.0.get("pid")?.as_u64()?).ok()?;
        Some(Process { pid, started: self.text("started")?.to_owned() })
    }

    /// Whether it still runs. Something that was not started here is asked, not assumed.
    pub(crate) fn is_alive(&self) -> bool {
        if let Some(id) = self.text("container") {
            return container::is_running(id);
        }
        match self.process() {
            Some(process) => process.is_alive(),
            None => self.text("url").is_some_and(engine::answers),
        }
    }

    /// Stops it, if it was started here, and removes its data; says what it did.
    pub(crate) fn stop(&self) -> Result<&'static str> {
        let how = if let Some(id) = self.text("container") {
            container::remove(id)?;
            "stopped"
        } else if let Some(process) = self.process() {
            let was_alive = process.is_alive();
            // PostgreSQL waits for its clients unless it is interrupted.
            let interrupt = self.text("stop") == Some("interrupt");
            let signal = if interrupt { Signal::Interrupt } else { Signal::Terminate };
            process.stop(signal, Duration::from_secs(20))?;
            if was_alive { "stopped" } else { "had ended" }
        } else {
            "left alone: it was here before"
        };
        if let Some(data) = self.text("data") {
            // What cannot be removed is removed before the next start, or named there.
            let _ = fs::remove_dir_all(data);
        }
        Ok(how)
    }
}

impl Book {
    /// Reads the file; none is an empty book.
    pub(crate) fn read(layout: &Layout) -> Result<Self> {
        let path = layout.services().join("services.json");
        let mut book = Self { path, entries: Vec::new() };
        let bytes = match fs::read(&book.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(book),
            Err(error) => {
                return Err(error).context(format!("cannot read {}", book.path.display()));
            }
        };
        let broken = || {
            Failure::task(format!(
                "{} is not a list of services; stop what it names and delete it",
                book.path.display()
            ))
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| broken())?;
        if value["version"] != VERSION {
            return Err(broken());
        }
        let services = value["services"].as_object().ok_or_else(broken)?;
        book.entries = services
            .iter()
            .map(|(name, entry)| (name.clone(), Entry::new(entry.clone())))
            .collect();
        Ok(book)
    }

    /// Writes the file, whole or not at all, readable for its owner only.
    pub(crate) fn write(&self) -> Result<()> {
        let services: Map<String, Value> =
            self.entries.iter().map(|(n, e)| (n.clone(), Value::Object(e.0.clone()))).collect();
        let text = format!("{:#}\n", json!({ "version": VERSION, "services": services }));
        let new = self.path.with_extension("json.new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new).context(format!("cannot write {}", new.display()))?;
        file.write_all(text.as_bytes()).context(format!("cannot write {}", new.display()))?;
        fs::rename(&new, &self.path).context(format!("cannot write {}", self.path.display()))
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The service of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, entry)| entry)
    }

    /// Adds or replaces a service.
    pub(crate) fn insert(&mut self, name: &str, entry: Entry) {
        self.remove(name);
        if name == Service::Docker.name()
            && let Some(url) = entry.text("url")
        {
            engine::remember(url);
        }
        self.entries.push((name.to_owned(), entry));
    }

    /// Forgets a service.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|(n, _)| n == name)?;
        Some(self.entries.remove(at).1)
    }

    /// Where a service is, without its password.
    pub(crate) fn summary(&self, name: &str) -> String {
        let entry = self.get(name);
        let text = |field| entry.and_then(|entry| entry.text(field));
        text("shown").or(text("url")).unwrap_or("no address").to_owned()
    }

    /// Where a service's log is.
    pub(crate) fn log(&self, name: &str) -> &str {
        self.get(name).and_then(|entry| entry.text("log")).unwrap_or("its log")
    }

    /// The ports that are taken by services in the book.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.entries
            .iter()
            .filter_map(|(_, entry)| u16::try_from(entry.0.get("port")?.as_u64()?).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(name: &str) -> Layout {
        let target = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(target.join("services")).expect("a temporary directory");
        Layout { root: target.clone(), target }
    }

    #[test]
    fn a_book_is_read_as_written() {
        let layout = layout("book");
        let mut book = Book::read(&layout).expect("none yet");
        let me = Process::find(std::process::id()).expect("this process");
        book.insert(
            "redis",
            Entry::new(json!({ "url": "redis://x", "port": 7 })).with_process(&me),
        );
        book.insert("gone", Entry::new(json!({ "pid": 1, "started": "another boot" })));
        book.write().expect("it can be written");
        let book = Book::read(&layout).expect("it can be read");
        assert_eq!(book.summary("redis"), "redis://x");
        assert_eq!(book.ports().collect::<Vec<_>>(), [7]);
        assert!(book.get("redis").is_some_and(Entry::is_alive));
        // Process 1 runs, but it is not the one that was started: it is neither up nor stopped.
        let stale = book.get("gone").expect("it is listed");
        assert!(!stale.is_alive());
        assert_eq!(stale.stop().expect("nothing to stop"), "had ended");
        fs::remove_dir_all(layout.target).expect("it is there");
    }

    #[test]
    fn a_broken_book_is_named() {
        let layout = layout("broken-book");
        fs::write(layout.services().join("services.json"), "{").expect("a file");
        assert!(Book::read(&layout).expect_err("no JSON").to_string().contains("services.json"));
        fs::remove_dir_all(layout.target).expect("it is there");
    }
}
