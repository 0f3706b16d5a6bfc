//! The data directory and its disk.

use super::finding::Finding;
use crate::text;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

/// Below this many free bytes a build soon fails.
const FREE_BYTES_MIN: u64 = 2 << 30;

/// Whether the data directory can be written, is private, and has room.
pub(super) fn directory(dir: &Path) -> Vec<Finding> {
    const WHAT: &str = "data directory";
    const OTHER: &str = "Choose another with --home or KILN_HOME.";
    let probe = dir.join(format!("tmp/probe-{}", std::process::id()));
    let written = fs::write(&probe, b"kiln").and_then(|()| {
        let owner = fs::metadata(&probe)?.uid();
        fs::remove_file(&probe)?;
        let meta = fs::metadata(dir)?;
        Ok((owner, meta.uid(), meta.permissions().mode() & 0o777))
    });
    let shown = dir.display();
    let own = match written {
        Err(e) => Finding::problem(WHAT, format!("{shown} cannot be written to: {e}"), OTHER),
        Ok((us, owner, _)) if us != owner => {
            Finding::warning(WHAT, format!("{shown} belongs to user {owner}, not to {us}"), OTHER)
        }
        Ok((_, _, mode)) if mode & 0o077 != 0 => Finding::warning(
            WHAT,
            format!("{shown} is open to other users (mode {mode:03o}), and logs are private"),
            format!("Run `chmod 700 {shown}`."),
        ),
        Ok(_) => Finding::fine(WHAT, shown.to_string()),
    };
    let room = dir.ancestors().find(|d| d.exists()).unwrap_or(dir);
    vec![own, disk("disk of the data directory", room, "`kiln prune` frees some.")]
}

/// Whether the disk that a path is on has room.
pub(super) fn disk(what: &'static str, path: &Path, remedy: &str) -> Finding {
    let shown = path.display();
    match free_bytes(path) {
        Some(free) if free < FREE_BYTES_MIN => {
            Finding::problem(what, format!("only {} free at {shown}", text::bytes(free)), remedy)
        }
        Some(free) => Finding::fine(what, format!("{} free at {shown}", text::bytes(free))),
        None => Finding::warning(
            what,
            format!("the free space at {shown} cannot be told"),
            "Install `df`, which is part of coreutils and busybox.",
        ),
    }
}

/// The free bytes of the disk a path is on, by the POSIX format of `df`.
fn free_bytes(path: &Path) -> Option<u64> {
    let output = Command::new("df").args(["-Pk", "--"]).arg(path).stderr(Stdio::null()).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib * 1024)
}
