//! The fuzz targets of tests/fuzz, a minute each, on the stable compiler.

use super::report::Report;
use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use crate::packages;
use std::fs;
use std::path::Path;
use std::process::Command;

const SECONDS: u32 = 60;

/// What cargo-fuzz would turn on, without the sanitizers, which need a nightly compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Builds all targets and runs each as a step.
pub(super) fn run(layout: &Layout, report: &mut Report) {
    let dir = layout.root.join("tests/fuzz");
    let mut names = Vec::new();
    let mut host = String::new();
    let found = report.step("fuzz targets", |_| {
        packages::ensure(packages::FUZZING)?;
        names = targets(&dir.join("targets"))?;
        host = layout.host()?;
        println!("{}", names.join(" "));
        Ok(())
    });
    if !found || names.is_empty() {
        return;
    }
    let built = layout.target.join("fuzz");
    // The explicit target keeps the flags away from build scripts and macros.
    let mut build = layout.cargo(&["build", "--release", "--bins", "--target", &host]);
    build.arg("--target-dir").arg(&built).current_dir(&dir).env("RUSTFLAGS", FLAGS);
    if !report.command("fuzz build", build) {
        return;
    }
    for name in names {
        let title = format!("fuzz {name}");
        match fuzz(&dir, &built, &host, &name) {
            Ok(command) => drop(report.command(&title, command)),
            Err(error) => drop(report.step(&title, |_| Err(error))),
        }
    }
}

/// What is found goes to the target directory and is found again by the next run; the checked-in
/// corpus is where it starts. A crash is kept in tests/fuzz/artifacts.
fn fuzz(dir: &Path, built: &Path, host: &str, name: &str) -> Result<Command> {
    let mut command = Command::new(built.join(host).join("release").join(name));
    let artifacts = dir.join("artifacts").join(name);
    let found = built.join("corpus").join(name);
    for dir in [&artifacts, &found] {
        fs::create_dir_all(dir).context(format!("cannot create {}", dir.display()))?;
    }
    command.arg(format!("-max_total_time={SECONDS}")).arg("-print_final_stats=1");
    command.arg("-verbosity=0").arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(found);
    let corpus = dir.join("corpus").join(name);
    if corpus.is_dir() {
        command.arg(corpus);
    }
    Ok(command)
}

fn targets(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).context(format!("cannot read {}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(Failure::task(format!("{} has no targets", dir.display())));
    }
    Ok(names)
}
