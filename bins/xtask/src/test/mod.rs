//! `cargo xtask test`: everything that has to hold, on real parts.

mod fuzz;
mod report;
mod tally;

use crate::error::{Context, Failure, Result};
use crate::guard::Guard;
use crate::layout::{Layout, cargo_metadata};
use crate::packages;
use crate::process::program;
use crate::services::{self, Service};
use crate::tidy;
use report::Report;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    long: bool,
    no_real: bool,
    filter: Option<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--long" => options.long = true,
                "--no-real" => options.no_real = true,
                flag if flag.starts_with('-') => {
                    return Err(Failure::Usage(format!("test: there is no option `{flag}`")));
                }
                filter if options.filter.is_none() => options.filter = Some(filter.to_owned()),
                _ => return Err(Failure::Usage("test takes one filter".into())),
            }
        }
        if options.long && options.filter.is_some() {
            return Err(Failure::Usage("test: --long runs everything, a filter does not".into()));
        }
        Ok(options)
    }
}

/// Runs the steps in order, whatever fails, and ends with `N passed, N failed`.
pub(crate) fn run(layout: &Layout, args: &[String]) -> Result<()> {
    let mut options = Options::parse(args)?;
    let guard = Guard::begin(layout)?;
    let mut report = Report::new(guard, std::env::var("CI").is_ok_and(|ci| ci == "true"));
    let mut started = Vec::new();
    if report.step("prerequisites", |_| prerequisites(&options)) {
        if !options.no_real {
            // Without them the rest still has something to say, though the run has failed.
            options.no_real =
                !report.step("services", |report| start_services(layout, report, &mut started));
        }
        everything(layout, &options, &mut report);
    }
    if !started.is_empty() {
        report.step("services down", |_| services::down(layout, &started));
    }
    report.finish()
}

fn everything(layout: &Layout, options: &Options, report: &mut Report) {
    if options.filter.is_none() {
        report.command("fmt", layout.cargo(&["fmt", "--all", "--check"]));
        let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        report.command("clippy", layout.cargo(&clippy));
        report.step("tidy", |_| tidy::run(layout, &[]));
        let mut doc = layout.cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        report.command("doc", doc);
    }
    let mut tests = layout.cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
    tests.args(&options.filter).args(["--", "--show-output"]);
    surroundings(layout, options, &mut tests);
    report.tests("test", tests, &layout.target.join("test.log"));
    if options.filter.is_some() {
        return;
    }
    match examples(layout) {
        Ok(names) => {
            for name in names {
                let args =
                    ["run", "--locked", "--quiet", "-p", "kiln-examples", "--example", &name];
                report.command(&format!("example {name}"), layout.cargo(&args));
            }
        }
        Err(error) => drop(report.step("examples", |_| Err(error))),
    }
    deny(layout, options, report);
    if options.long {
        let test = "a_large_pack_takes_little_memory";
        let args =
            ["test", "--locked", "-p", "kiln-git", "--test", "memory", test, "--", "--ignored"];
        report.tests("long", layout.cargo(&args), &layout.target.join("long.log"));
        fuzz::run(layout, report);
    }
}

/// Tells tests where the real parts are.
fn surroundings(layout: &Layout, options: &Options, command: &mut Command) {
    for name in ["KILN_LONG", "KILN_TEST_REAL", "KILN_TEST_SERVICES"] {
        command.env_remove(name);
    }
    if options.long {
        command.env("KILN_LONG", "1");
    }
    if !options.no_real {
        command.env("KILN_TEST_REAL", "1");
        command.env("KILN_TEST_SERVICES", layout.services().join("services.json"));
        command.env("DOCKER_HOST", services::engine_url());
    }
}

fn prerequisites(options: &Options) -> Result<()> {
    packages::toolchain()?;
    packages::ensure(packages::BUILD)?;
    if options.no_real {
        return Ok(());
    }
    packages::ensure(packages::DEMO)?;
    packages::ensure(packages::TESTS)?;
    if packages::may_install() { packages::ensure(packages::DEPLOY) } else { Ok(()) }
}

/// Starts what the tests need; `started` is what was not there before.
fn start_services(layout: &Layout, report: &mut Report, started: &mut Vec<Service>) -> Result<()> {
    let running = services::running(layout)?;
    started.extend(Service::TESTED.into_iter().filter(|service| !running.contains(service)));
    for service in started {
        // Said before it starts, so that nothing is left whenever we are killed.
        report.guard().started(*service);
    }
    services::up(layout, &Service::TESTED).map(|_| ())
}

/// The examples that run by themselves; the others say in their first lines what they need, and
/// clippy has compiled them.
fn examples(layout: &Layout) -> Result<Vec<String>> {
    let metadata = cargo_metadata(&layout.root, &["--no-deps"])?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let targets = packages
        .iter()
        .filter(|package| package["name"] == "kiln-examples")
        .flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let mut names = Vec::new();
    for target in targets.filter(|target| target["kind"][0] == "example") {
        let (Some(name), Some(path)) = (target["name"].as_str(), target["src_path"].as_str())
        else {
            continue;
        };
        let text = fs::read_to_string(path).context(format!("cannot read {path}"))?;
        let needs = text.lines().take_while(|line| line.starts_with("//!"));
        if !needs.map(str::to_lowercase).any(|line| line.contains("needs a docker engine")) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// `cargo deny`, where it is installed; tidy has checked most of it from the same lists.
fn deny(layout: &Layout, options: &Options, report: &mut Report) {
    let installed = program("cargo-deny").is_some();
    let tools = layout.tools();
    if !installed && !tools.join("bin/cargo-deny").is_file() {
        if !options.long {
            return report.note(
                "deny skipped: cargo-deny is not installed and takes minutes to build; `--long` \
                 builds it. tidy has checked licences, bans and doubles.",
            );
        }
        let args = ["install", "cargo-deny", "--locked", "--version", "0.20.2", "--root"];
        let mut install = layout.cargo(&args);
        install.arg(&tools);
        if !report.command("install cargo-deny", install) {
            return;
        }
    }
    let program = if installed { "cargo-deny".into() } else { tools.join("bin/cargo-deny") };
    // Advisories are another repository, which a test run does not depend on.
    let mut command = Command::new(program);
    command.args(["check", "bans", "licenses", "sources"]).current_dir(Path::new(&layout.root));
    report.command("deny", command);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        assert_eq!(parse("").expect("no options"), Options::default());
        let all = parse("--long --no-real").expect("both");
        assert!(all.long && all.no_real && all.filter.is_none());
        assert_eq!(parse("git::").expect("a filter").filter.as_deref(), Some("git::"));
        for wrong in ["--fast", "a b", "--long a"] {
            assert!(matches!(parse(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
