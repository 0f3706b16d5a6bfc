//! Whether this machine is ready to build: `doctor`.

mod clock;
mod data;
mod docker;
mod finding;
mod git;
mod logins;
mod server;

use crate::{
    args::{Exit, JsonArgs, Place},
    home::{self, Home, short},
    print,
    remote::Server,
    screen::Look,
};
use finding::{Finding, Verdict};
use kiln::Result;

pub(crate) async fn doctor(place: &Place, args: &JsonArgs) -> Result<Exit> {
    let config = home::docker_config(place)?;
    let dir = home::dir(place)?;
    let mut findings = docker::engine(&config).await;
    findings.extend(logins::logins(&config).await);
    findings.extend(git::git());
    // What is wrong with the directory is told by looking at it; so is what Kiln says of it.
    let home = Home::open(place);
    findings.extend(data::directory(&dir));
    match &home {
        Ok(home) => {
            findings.push(interrupted(home).await);
            findings.push(clock::clock(Some(home), &dir).await);
        }
        Err(e) => {
            findings.push(Finding::error("database", e));
            findings.push(clock::clock(None, &dir).await);
        }
    }
    Ok(tell(&findings, args, "this machine is not ready to build"))
}

/// Looks at a server in place of this machine.
pub(crate) async fn server(server: &Server, args: &JsonArgs) -> Result<Exit> {
    Ok(tell(&server::look(server).await, args, "the server is not ready to build"))
}

/// Tells what was found, and what follows from problems.
fn tell(findings: &[Finding], args: &JsonArgs, so: &str) -> Exit {
    let count = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let (problems, warnings) = (count(Verdict::Problem), count(Verdict::Warning));
    if args.json {
        for finding in findings {
            print::json("finding", finding);
        }
        print::json("total", serde_json::json!({ "problems": problems, "warnings": warnings }));
    } else {
        let look = Look::of(&std::io::stdout());
        for finding in findings {
            print::result(finding.people(look));
        }
        if problems > 0 {
            let s = if problems == 1 { "" } else { "s" };
            print::note(format!("{problems} problem{s}: {so}"));
        }
    }
    if problems > 0 { Exit::Failed } else { Exit::Fine }
}

async fn interrupted(home: &Home) -> Finding {
    const WHAT: &str = "interrupted builds";
    match home.interrupted().await {
        Ok(builds) if builds.is_empty() => Finding::fine(WHAT, "none"),
        Ok(builds) => {
            let names = builds.iter().map(short).collect::<Vec<_>>().join(", ");
            Finding::warning(WHAT, names, "`kiln resume` goes on with them.")
        }
        Err(e) => Finding::error(WHAT, &e),
    }
}
