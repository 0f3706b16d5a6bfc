//! `cargo xtask demo`: from a git repository to a pushed image, on real parts.

mod stage;

use crate::error::{Context, Failure, Result};
use crate::guard::Guard;
use crate::layout::Layout;
use crate::packages;
use crate::services::{self, Service};
use serde_json::Value;
use stage::{Stage, forget_home};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs the demo and leaves nothing running.
pub(crate) fn run(layout: &Layout, args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(Failure::Usage("demo takes no argument".into()));
    }
    say("what the system has to offer");
    packages::ensure(packages::BUILD)?;
    packages::ensure(packages::DEMO)?;
    packages::ensure(&[packages::DOCKER_CLI])?;
    let mut guard = Guard::begin(layout)?;
    let needed = [Service::Docker, Service::Registry];
    let running = services::running(layout)?;
    let started: Vec<_> = needed.into_iter().filter(|s| !running.contains(s)).collect();
    for service in &started {
        guard.started(*service);
    }
    let mut demo = Demo { layout, guard, stage: Stage::new(layout) };
    let result = demo.play(&needed);
    say("cleaning up");
    demo.stage.clear();
    let stopped = services::down(layout, &started);
    demo.guard.end();
    result.and(stopped)
}

fn say(text: &str) {
    println!("\n▸ {text}");
}

struct Demo<'a> {
    layout: &'a Layout,
    guard: Guard,
    stage: Stage,
}

impl Demo<'_> {
    fn play(&mut self, needed: &[Service]) -> Result<()> {
        say("a Docker engine and a registry");
        let book = services::up(self.layout, needed)?;
        let host = book.get("registry").and_then(|registry| registry.text("host"));
        let host = host.ok_or_else(|| Failure::task("the registry has no address"))?.to_owned();

        say("the kiln command, compiled");
        let kiln = self.compile()?;
        let begin = Instant::now();

        say("a base image from the system's busybox");
        self.stage.base_image()?;

        say("a git repository with a Dockerfile of two stages");
        let (url, expected) = self.stage.repository()?;

        let image = format!("{host}/demo:v1");
        self.build(&kiln, &url, &image)?;
        let (id, digest) = self.outcome(&kiln)?;
        say(&format!("what the registry has now is {digest}"));

        let pinned = format!("{host}/demo@{digest}");
        say("the local image removed, then pulled back by its digest");
        self.stage.docker(&["rmi", "--force", &image])?;
        self.stage.remove_later(&pinned);
        self.stage.docker(&["pull", "--quiet", &pinned])?;

        say("a container from it");
        let output = self.stage.docker(&["run", "--rm", "--network", "none", &pinned])?;
        println!("{output}");
        if output != expected {
            return Err(Failure::task(format!("it should have printed:\n{expected}")));
        }
        self.history(&kiln, &id)?;
        println!("\nThat took {:.1?} after compilation.", begin.elapsed());
        Ok(())
    }

    fn compile(&mut self) -> Result<PathBuf> {
        let mut build = self.layout.cargo(&["build", "--locked", "-p", "kiln-cli"]);
        let status = self.guard.run(&mut build, |_| {})?;
        let name = format!("kiln{}", std::env::consts::EXE_SUFFIX);
        let kiln = self.layout.target.join("debug").join(name);
        if status.success() { Ok(kiln) } else { Err(Failure::task("kiln does not compile")) }
    }

    /// A kiln command with the demo's own data directory.
    fn kiln(&self, program: &PathBuf, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        forget_home(&mut command);
        command.args(args).env("KILN_HOME", self.stage.home()).stdin(Stdio::null());
        command.env("DOCKER_HOST", services::engine_url());
        command
    }

    /// Shows a kiln command and runs it.
    fn show(&mut self, program: &PathBuf, args: &[&str]) -> Result<()> {
        say(&format!("kiln {}", args.join(" ")));
        let mut command = self.kiln(program, args);
        let status = self.guard.run(&mut command, |_| {})?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::task(format!("kiln {}: {status}", args.first().copied().unwrap_or_default())))
    }

    fn build(&mut self, kiln: &PathBuf, url: &str, image: &str) -> Result<()> {
        self.stage.remove_later(image);
        self.show(kiln, &["build", url, "-t", image, "--push"])
    }

    /// The last build's id and the digest it pushed.
    fn outcome(&self, kiln: &PathBuf) -> Result<(String, String)> {
        let builds = self.json(kiln, &["builds", "--json"])?;
        let id = find(&builds, "build", |_| true)
            .ok_or_else(|| Failure::task(format!("kiln builds --json names no id: {builds}")))?;
        let build = self.json(kiln, &["show", &id, "--json"])?;
        let digest = find(&build, "digest", |text| text.starts_with("sha256:"));
        let digest =
            digest.ok_or_else(|| Failure::task(format!("kiln show names no digest: {build:#}")))?;
        Ok((id, digest))
    }

    fn json(&self, kiln: &PathBuf, args: &[&str]) -> Result<Value> {
        let what = format!("kiln {}", args.join(" "));
        let output = self.kiln(kiln, args).output().context(format!("cannot run {what}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::task(format!("{what}: {}", text.trim())));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        // One document, or one a line.
        serde_json::from_str(&text)
            .or_else(|_| text.lines().map(serde_json::from_str::<Value>).collect())
            .context(format!("{what} printed no JSON"))
    }

    fn history(&mut self, kiln: &PathBuf, id: &str) -> Result<()> {
        self.show(kiln, &["builds"])?;
        self.show(kiln, &["show", id])?;
        self.show(kiln, &["logs", id])
    }
}

/// The first text under this key that fits, anywhere in the value, nearest to the top first.
fn find(value: &Value, key: &str, fits: impl Fn(&str) -> bool + Copy) -> Option<String> {
    if let Some(text) = value.get(key).and_then(Value::as_str).filter(|text| fits(text)) {
        return Some(text.to_owned());
    }
    match value {
        Value::Array(items) => items.iter().find_map(|item| find(item, key, fits)),
        Value::Object(fields) => fields.values().find_map(|item| find(item, key, fits)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_found_anywhere() {
        let value = json!({ "a": [{ "digest": "v1" }, { "digest": "sha256:x" }], "id": 7 });
        assert_eq!(
            find(&value, "digest", |t| t.starts_with("sha256:")).as_deref(),
            Some("sha256:x")
        );
        assert_eq!(find(&value, "id", |_| true), None);
    }
}
