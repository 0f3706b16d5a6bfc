//! Whether the clock tells the time.

use super::finding::Finding;
use crate::{args::now, home::Home, text};
use kiln::{
    Timestamp,
    port::{BuildFilter, Page},
};
use std::{fs, path::Path, time::UNIX_EPOCH};

const WHAT: &str = "clock";
/// No clock that is set shows a moment before 2025: certificates would not be valid yet.
const EARLIEST: Timestamp = Timestamp(1_735_689_600_000);
/// How far two clocks may be apart.
const APART_MS_MAX: u64 = 60_000;

/// Compares the clock with the latest build and with the file system's.
pub(super) async fn clock(home: Option<&Home>, dir: &Path) -> Finding {
    const SET: &str = "Set it, for example with `timedatectl set-ntp true`.";
    let at = now();
    if at < EARLIEST {
        return Finding::problem(WHAT, format!("it says {}", text::moment(at)), SET);
    }
    if let Some(latest) = latest(home).await
        && latest.0 > at.0 + APART_MS_MAX
    {
        let found =
            format!("it says {}, and a build began at {}", text::moment(at), text::moment(latest));
        return Finding::warning(WHAT, found, SET);
    }
    if let Some(file) = of_files(dir)
        && file.0.abs_diff(now().0) > APART_MS_MAX
    {
        let found = format!(
            "it says {}, and that of the file system {}",
            text::moment(at),
            text::moment(file)
        );
        return Finding::warning(WHAT, found, "Set both by the same source.");
    }
    Finding::fine(WHAT, text::moment(at))
}

async fn latest(home: Option<&Home>) -> Option<Timestamp> {
    let page = Page { max: 1, after: None };
    let builds = home?.engine.list(&BuildFilter::default(), &page).await.ok()?;
    Some(builds.first()?.accepted_at)
}

/// The clock of the file system, which is another host's if the directory is.
fn of_files(dir: &Path) -> Option<Timestamp> {
    let probe = dir.join(format!("tmp/clock-{}", std::process::id()));
    fs::write(&probe, b"kiln").ok()?;
    let changed = fs::metadata(&probe).and_then(|meta| meta.modified());
    // What is left if this fails harms nobody.
    let _ = fs::remove_file(&probe);
    let since = changed.ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(u64::try_from(since.as_millis()).ok()?))
}
