//! What the server keeps of what it acknowledged, as far as it tells.

use crate::{config::Require, wire::Line};
use kiln::{Error, ErrorKind, Result};
use std::collections::HashMap;

/// How much of what was acknowledged outlives a crash of the server or its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server lets nobody read its settings.
    Unknown,
    /// Nothing: it keeps everything in memory.
    Nothing,
    /// Some earlier state: that of its last snapshot, or what its system had written by then.
    Earlier,
    /// All but the last second.
    EverySecond,
    /// All of it.
    Always,
}

/// What a server was found to keep when a connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// How much outlives a crash.
    pub level: Level,
    /// Whether the server may remove keys by itself when its memory is full.
    pub evicts: bool,
    /// What to know and what to change, one sentence each. Empty if nothing is ever lost.
    pub warnings: Vec<String>,
}

impl Durability {
    /// What the server says of itself. Whoever may not ask it gets [`Level::Unknown`].
    pub(crate) async fn of(line: &mut Line, op: &'static str) -> Result<Self> {
        let mut config = redis::cmd("CONFIG");
        config.arg("GET").arg(&["appendonly", "appendfsync", "no-appendfsync-on-rewrite"]);
        config.arg(&["maxmemory", "maxmemory-policy", "save"]);
        match line.ask::<HashMap<String, String>>(op, &config).await {
            Ok(settings) => return Ok(Self::read(|name| settings.get(name).map(String::as_str))),
            Err(e) if forbidden(&e) => {}
            Err(e) => return Err(e),
        }
        // What it says to everybody is less: not how often it writes.
        let mut info = redis::cmd("INFO");
        match line.ask::<String>(op, info.arg("persistence").arg("memory")).await {
            Ok(text) => Ok(Self::read(|name| told(&text, name))),
            Err(e) if forbidden(&e) => Ok(Self::read(|_| None)),
            Err(e) => Err(e),
        }
    }

    fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Self {
        let level = match (setting("appendonly"), setting("appendfsync"), setting("save")) {
            (Some("yes"), Some(_), _) if setting("no-appendfsync-on-rewrite") == Some("yes") => {
                Level::Earlier
            }
            (Some("yes"), Some("always"), _) => Level::Always,
            (Some("yes"), Some("everysec"), _) => Level::EverySecond,
            (Some("yes"), Some(_), _) => Level::Earlier,
            (Some("no"), _, Some("")) => Level::Nothing,
            (Some("no"), _, Some(_)) => Level::Earlier,
            _ => Level::Unknown,
        };
        // Our keys never expire, so that only what may take any key may take them.
        let policy = setting("maxmemory-policy");
        let evicts = setting("maxmemory").is_some_and(|bytes| bytes != "0")
            && policy.is_some_and(|policy| policy.starts_with("allkeys"));
        Self { level, evicts, warnings: warnings(level, evicts, policy) }
    }

    /// Whether less outlives a crash than by an earlier look.
    pub(crate) fn is_less_than(&self, earlier: &Self) -> bool {
        self.level < earlier.level || (self.evicts && !earlier.evicts)
    }

    /// Refuses a server that keeps less than is required; tells of what it may lose.
    pub(crate) fn suffices(&self, require: Require, op: &'static str) -> Result<()> {
        let least = match require {
            Require::Always => Level::Always,
            Require::EverySecond => Level::EverySecond,
            Require::Nothing => Level::Unknown,
        };
        if self.level < least || (self.evicts && require != Require::Nothing) {
            let message = "this Redis does not keep what it acknowledges as journals require";
            return Err(Error::new(ErrorKind::Unsupported, op, message)
                .with("keeps", format!("{:?}", self.level))
                .with("required", format!("{least:?}"))
                .with("evicts", self.evicts)
                .hint(self.warnings.join(" ")));
        }
        for warning in &self.warnings {
            tracing::warn!(level = ?self.level, evicts = self.evicts, "{warning}");
        }
        Ok(())
    }
}

fn warnings(level: Level, evicts: bool, policy: Option<&str>) -> Vec<String> {
    let mut warnings = Vec::new();
    match level {
        Level::Always => {}
        Level::EverySecond => warnings.push(
            "A crash of the server loses up to one second of what it acknowledged; set \
             `appendfsync always` to lose nothing."
                .to_owned(),
        ),
        Level::Earlier | Level::Nothing => warnings.push(
            "A crash of the server loses what it acknowledged; set `appendonly yes`, \
             `appendfsync always` and `no-appendfsync-on-rewrite no` to lose nothing."
                .to_owned(),
        ),
        Level::Unknown => warnings.push(
            "The server does not tell what a crash would lose; allow `CONFIG GET`, or require \
             nothing if you know that it keeps enough."
                .to_owned(),
        ),
    }
    if evicts {
        warnings.push(format!(
            "The server removes any key when its memory is full (`{}`); set `maxmemory-policy \
             noeviction`.",
            policy.unwrap_or_default()
        ));
    }
    warnings
}

/// A setting as `INFO` has it.
fn told<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    match name {
        "appendonly" => match field("aof_enabled")? {
            "1" => Some("yes"),
            "0" => Some("no"),
            _ => None,
        },
        "maxmemory" => field("maxmemory"),
        "maxmemory-policy" => field("maxmemory_policy"),
        _ => None,
    }
}

/// Whether the server refused the question and nothing else: by rule, or by not having the command.
pub(crate) fn forbidden(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Denied | ErrorKind::Unsupported)
}
