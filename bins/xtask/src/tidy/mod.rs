//! `cargo xtask tidy`: the rules of the house that the compiler does not know.

mod crates;
mod documents;
mod graph;
mod ports;
mod ratchet;
mod source;
mod text;

use crate::error::{Failure, Result};
use crate::layout::Layout;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Where: a file, a line of it, a crate.
    place: String,
    /// What is wrong and what to do.
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

/// Checks every rule and prints what breaks one.
pub(crate) fn run(layout: &Layout, args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(Failure::Usage("tidy takes no argument".into()));
    }
    let files = source::files(&layout.root)?;
    let mut findings = text::check(&files);
    findings.extend(ports::check(&files));
    findings.extend(ratchet::check(&layout.root, &files)?);
    findings.extend(graph::check(layout)?);
    findings.extend(crates::check(layout)?);
    findings.extend(documents::check(layout)?);
    findings.sort();
    for finding in &findings {
        println!("{}: {}", finding.place, finding.what);
    }
    if findings.is_empty() {
        println!("tidy: {} files and the crate graph keep the rules", files.len());
        return Ok(());
    }
    println!("tidy: {} findings", findings.len());
    Err(Failure::Said)
}
