//! What is found out about this machine.

use kiln::{Error, ErrorKind, NodeId, Resources, Result};
use std::{collections::BTreeMap, fs, thread::available_parallelism};

/// The first part of the machine's name.
pub(crate) fn name() -> Result<NodeId> {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = text.trim().split('.').next().unwrap_or_default();
    NodeId::new(name).map_err(|e| {
        Error::new(ErrorKind::Invalid, "kiln-agent", "the machine has no name that a node can have")
            .source(e)
            .hint("Choose one with --name.")
    })
}

/// What placements can ask for without anybody saying it.
pub(crate) fn labels() -> BTreeMap<String, String> {
    let labels = [
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// All processors and all memory, where that can be found out; else no limit.
pub(crate) fn resources() -> Resources {
    let cpus = available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(0));
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_of(&text));
    Resources { cpu_millis: cpus.saturating_mul(1000), memory_bytes: memory.unwrap_or(0) }
}

fn memory_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_found() {
        let text = "MemTotal:       24576000 kB\nMemFree:  1 kB\n";
        assert_eq!(super::memory_of(text), Some(24_576_000 * 1024));
        assert_eq!(super::memory_of("x"), None);
    }
}
