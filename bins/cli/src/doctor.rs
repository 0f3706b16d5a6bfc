//! Whether this machine is ready to build: `doctor`.

use crate::{
    args::{Exit, JsonArgs},
    home::{Home, short},
    print,
};
use kiln::Result;
use kiln_docker::CredentialStore;
use serde::Serialize;
use std::{os::unix::ffi::OsStrExt, path::Path, process::Command};

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Fine,
    Warning,
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// Below this many free bytes a build soon fails.
const FREE_BYTES_MIN: u64 = 2 << 30;

pub(crate) async fn doctor(home: &Home, args: JsonArgs) -> Result<Exit> {
    let mut findings = docker(home).await;
    findings.push(credentials(home).await);
    findings.push(disk("disk of the data directory", &home.dir));
    findings.push(data(home));
    findings.push(interrupted(home).await);
    let bad = findings.iter().any(|f| matches!(f.verdict, Verdict::Problem));
    if args.json {
        print::json(&findings);
    } else {
        for finding in &findings {
            let mark = match finding.verdict {
                Verdict::Fine => "✓",
                Verdict::Warning => "!",
                Verdict::Problem => "✗",
            };
            print::result(format!("{mark} {}: {}", finding.what, print::clean(&finding.found)));
            if let Some(remedy) = &finding.remedy {
                print::result(format!("    {}", print::clean(remedy)));
            }
        }
    }
    Ok(if bad { Exit::Failed } else { Exit::Fine })
}

fn fine(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { what, verdict: Verdict::Fine, found: found.into(), remedy: None }
}

fn problem(what: &'static str, e: &kiln::Error) -> Finding {
    let remedy = e.hint_text().map(str::to_owned);
    Finding { what, verdict: Verdict::Problem, found: e.to_string(), remedy }
}

async fn docker(home: &Home) -> Vec<Finding> {
    let info = match home.docker.info().await {
        Ok(info) => info,
        Err(e) => return vec![problem("Docker engine", &e)],
    };
    let host = &home.docker.config().host;
    let mut found = vec![fine(
        "Docker engine",
        format!("{} (API {}) at {host}", info.version, info.api_version),
    )];
    found.push(match home.docker.uses_buildkit().await {
        Ok(true) => fine("builder", "BuildKit"),
        Ok(false) => Finding {
            what: "builder",
            verdict: Verdict::Warning,
            found: "the classic builder".into(),
            remedy: Some(
                "It is slower. Unset DOCKER_BUILDKIT=0, or use Docker 18.09 or newer.".into(),
            ),
        },
        Err(e) => problem("builder", &e),
    });
    if let Some(root) = info.root_dir.as_deref().map(Path::new).filter(|r| r.exists()) {
        found.push(disk("disk of the Docker engine", root));
    }
    found
}

async fn credentials(home: &Home) -> Finding {
    let store = CredentialStore::new(home.docker.config().config_dir.clone());
    match store.known().await {
        Ok(logins) if logins.is_empty() => {
            fine("registry logins", "none; `docker login REGISTRY` adds one")
        }
        Ok(logins) => {
            let names: Vec<_> =
                logins.iter().map(|l| format!("{} (in {})", l.registry, l.kept_in)).collect();
            fine("registry logins", names.join(", "))
        }
        Err(e) => problem("registry logins", &e),
    }
}

/// The free bytes of the disk a path is on, by the POSIX format of `df`.
fn free_bytes(path: &Path) -> Option<u64> {
    let path = std::ffi::OsStr::from_bytes(path.as_os_str().as_bytes());
    let output = Command::new("df").arg("-Pk").arg("--").arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib * 1024)
}

fn disk(what: &'static str, path: &Path) -> Finding {
    match free_bytes(path) {
        Some(free) if free < FREE_BYTES_MIN => Finding {
            what,
            verdict: Verdict::Problem,
            found: format!("{} free at {}", print::bytes(free), path.display()),
            remedy: Some("Free some space: `kiln prune`, `docker system prune`.".into()),
        },
        Some(free) => fine(what, format!("{} free at {}", print::bytes(free), path.display())),
        None => Finding {
            what,
            verdict: Verdict::Warning,
            found: format!("the free space at {} cannot be told", path.display()),
            remedy: None,
        },
    }
}

fn data(home: &Home) -> Finding {
    let probe = home.dir.join("tmp/probe");
    let written = std::fs::write(&probe, b"kiln").and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => fine("data directory", home.dir.display().to_string()),
        Err(e) => Finding {
            what: "data directory",
            verdict: Verdict::Problem,
            found: format!("{} cannot be written to: {e}", home.dir.display()),
            remedy: Some("Choose another with --home or KILN_HOME.".into()),
        },
    }
}

async fn interrupted(home: &Home) -> Finding {
    match home.interrupted().await {
        Ok(builds) if builds.is_empty() => fine("interrupted builds", "none"),
        Ok(builds) => Finding {
            what: "interrupted builds",
            verdict: Verdict::Warning,
            found: builds.iter().map(short).collect::<Vec<_>>().join(", "),
            remedy: Some("`kiln resume` goes on with them.".into()),
        },
        Err(e) => problem("interrupted builds", &e),
    }
}
