//! The registry logins, and the helpers that keep them.

use super::finding::Finding;
use kiln_docker::{CredentialStore, DockerConfig};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

const WHAT: &str = "registry logins";
/// How long a helper may take.
const HELPER_TIME: Duration = Duration::from_secs(10);

/// Which logins there are, and whether their helpers work.
pub(super) async fn logins(config: &DockerConfig) -> Vec<Finding> {
    let logins = match CredentialStore::new(config.config_dir.clone()).known().await {
        Ok(logins) => logins,
        Err(e) => return vec![Finding::error(WHAT, &e)],
    };
    if logins.is_empty() {
        return vec![Finding::fine(WHAT, "none; `docker login REGISTRY` adds one")];
    }
    let mut by_place: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for login in logins {
        by_place.entry(login.kept_in).or_default().insert(login.registry);
    }
    let mut findings = Vec::new();
    for (place, registries) in by_place {
        let names = registries.into_iter().collect::<Vec<_>>().join(", ");
        let found = format!("{names} (in {place})");
        findings.push(match place.as_str() {
            "config.json" => Finding::fine(WHAT, found),
            helper => match trouble(helper).await {
                None => Finding::fine(WHAT, found),
                Some(trouble) => Finding::problem(
                    WHAT,
                    format!("{names}: the credential helper docker-credential-{helper} {trouble}"),
                    "Install or unlock the helper, or take it out of Docker's config.json and run \
                     `docker login` again.",
                ),
            },
        });
    }
    findings
}

/// What is wrong with a helper: it is asked for names, never for a secret.
async fn trouble(helper: &str) -> Option<String> {
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Some("has a name that is not one".into());
    }
    let list = Command::new(format!("docker-credential-{helper}"))
        .arg("list")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    match timeout(HELPER_TIME, list).await {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(match status.code() {
            Some(code) => format!("fails (exit code {code})"),
            None => "was killed".into(),
        }),
        Ok(Err(_)) => Some("cannot be run".into()),
        Err(_) => Some("does not answer within 10 s".into()),
    }
}
