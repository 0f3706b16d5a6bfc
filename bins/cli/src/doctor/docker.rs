//! The Docker engine and its disk.

use super::{data::disk, finding::Finding};
use crate::{args::now, text};
use kiln::Timestamp;
use kiln_docker::{DockerClient, DockerConfig, Host};
use std::path::Path;

/// How far the engine's clock may be from ours. Between them are two calls.
const APART_MS_MAX: u64 = 60_000;

/// Whether the engine answers, how it would build, what its clock says, and how much room it has.
pub(super) async fn engine(config: &DockerConfig) -> Vec<Finding> {
    const ENGINE: &str = "Docker engine";
    const BUILDER: &str = "builder";
    let client = match DockerClient::new(config.clone()) {
        Ok(client) => client,
        Err(e) => return vec![Finding::error(ENGINE, &e)],
    };
    let info = match client.info().await {
        Ok(info) => info,
        Err(e) => return vec![Finding::error(ENGINE, &e)],
    };
    let host = &config.host;
    let (version, api) = (&info.version, &info.api_version);
    let mut findings = vec![Finding::fine(ENGINE, format!("{version} (API {api}) at {host}"))];
    findings.push(match client.uses_buildkit().await {
        Ok(true) if info.has_buildkit() => Finding::fine(BUILDER, "BuildKit"),
        Ok(true) => Finding::problem(
            BUILDER,
            "BuildKit is asked for, and this engine has none",
            "Unset DOCKER_BUILDKIT, or use Docker 18.09 or newer.",
        ),
        Ok(false) => Finding::warning(
            BUILDER,
            "the classic builder, which is slower",
            "Unset DOCKER_BUILDKIT=0, or use Docker 18.09 or newer.",
        ),
        Err(e) => Finding::error(BUILDER, &e),
    });
    let clock = info.system_time.as_deref().and_then(text::read_moment);
    findings.extend(clock.and_then(|clock| apart(clock, now())));
    // The engine of another host has its disk there.
    if let (Host::Unix(_), Some(root)) = (host, info.root_dir.as_deref().map(Path::new))
        && root.exists()
    {
        findings.push(disk("disk of the Docker engine", root, "`docker system prune` frees some."));
    }
    findings
}

/// What is said of two clocks that do not agree.
fn apart(theirs: Timestamp, ours: Timestamp) -> Option<Finding> {
    (theirs.0.abs_diff(ours.0) > APART_MS_MAX).then(|| {
        Finding::warning(
            "clock of the Docker engine",
            format!("it says {}, and ours {}", text::moment(theirs), text::moment(ours)),
            "Set both by the same source, for example with `timedatectl set-ntp true`.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_be_a_minute_apart() {
        let clock = |ms| Timestamp(1_735_689_600_000 + ms);
        assert!(apart(clock(0), clock(APART_MS_MAX)).is_none());
        let found = apart(clock(90_000), clock(0)).unwrap();
        assert_eq!(
            found.found,
            "it says 2025-01-01T00:01:30.000Z, and ours 2025-01-01T00:00:00.000Z"
        );
    }
}
