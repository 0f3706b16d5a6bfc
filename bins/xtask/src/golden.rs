//! `cargo xtask golden`: stored and wire formats against their golden files.

use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use std::process::Command;

/// Runs the golden tests; with `--bless` they write what they see.
pub(crate) fn run(layout: &Layout, args: &[String]) -> Result<()> {
    let bless = match args {
        [] => false,
        [flag] if flag == "--bless" => true,
        _ => return Err(Failure::Usage("golden takes nothing but --bless".into())),
    };
    let mut tests = layout.cargo(&["test", "--locked", "--workspace", "--quiet", "golden"]);
    tests.env_remove("KILN_BLESS");
    if bless {
        tests.env("KILN_BLESS", "1");
    }
    if !tests.status().context("cannot run cargo test")?.success() {
        let hint = if bless { "" } else { "; a change that is meant is written with --bless" };
        return Err(Failure::task(format!("the golden tests failed{hint}")));
    }
    if bless {
        println!("read what changed before committing it:");
        let mut status = Command::new("git");
        status.args(["status", "--short"]).current_dir(&layout.root);
        status.status().context("cannot run git")?;
    }
    Ok(())
}
