//! `cargo xtask bench`: what the benches measure against what docs/spec.md promises.

use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// A line `promise <name> <measured> <op> <limit> <unit>`.
#[derive(Debug, PartialEq)]
struct Promise {
    name: String,
    measured: f64,
    op: String,
    limit: f64,
    unit: String,
}

impl Promise {
    /// Reads a line that says `promise`; any other line is none.
    fn read(line: &str) -> Option<Result<Self>> {
        let rest = line.strip_prefix("promise ")?;
        Some(Self::fields(rest).ok_or_else(|| {
            Failure::task(format!(
                "cannot read `{line}`; it is `promise NAME MEASURED <=|>=|<|> LIMIT UNIT`"
            ))
        }))
    }

    fn fields(rest: &str) -> Option<Self> {
        let mut words = rest.split_whitespace();
        let promise = Self {
            name: words.next()?.to_owned(),
            measured: words.next()?.parse().ok()?,
            op: words.next()?.to_owned(),
            limit: words.next()?.parse().ok()?,
            unit: words.collect::<Vec<_>>().join(" "),
        };
        let known = ["<=", ">=", "<", ">"].contains(&promise.op.as_str());
        (known && !promise.unit.is_empty()).then_some(promise)
    }

    fn kept(&self) -> bool {
        match self.op.as_str() {
            "<=" => self.measured <= self.limit,
            ">=" => self.measured >= self.limit,
            "<" => self.measured < self.limit,
            _ => self.measured > self.limit,
        }
    }
}

/// Runs all benches, or one, and prints the table.
pub(crate) fn run(layout: &Layout, args: &[String]) -> Result<()> {
    let mut command = layout.cargo(&["bench", "--locked", "-p", "kiln-benches"]);
    match args {
        [] => {}
        [name] if !name.starts_with('-') => drop(command.args(["--bench", name])),
        _ => return Err(Failure::Usage("bench takes one name".into())),
    }
    let services = layout.services().join("services.json");
    if services.exists() {
        command.env("KILN_TEST_SERVICES", services);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo bench")?;
    let mut promises = Vec::new();
    let mut unread = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line.context("cannot read from cargo bench")?;
        println!("{line}");
        match Promise::read(&line) {
            Some(Ok(promise)) => promises.push(promise),
            Some(Err(error)) => unread.push(error.to_string()),
            None => {}
        }
    }
    let status = child.wait().context("cannot wait for cargo bench")?;
    print!("\n{}", table(&promises));
    if let Some(first) = unread.first() {
        return Err(Failure::task(first));
    }
    if !status.success() {
        return Err(Failure::task(format!("cargo bench: {status}")));
    }
    match promises.iter().filter(|promise| !promise.kept()).count() {
        0 => Ok(()),
        broken => Err(Failure::task(format!("{broken} of {} promises are broken", promises.len()))),
    }
}

fn table(promises: &[Promise]) -> String {
    let head = ["promise", "measured", "promised", "verdict"].map(str::to_owned);
    let rows = promises.iter().map(|promise| {
        let Promise { name, measured, op, limit, unit } = promise;
        let verdict = if promise.kept() { "kept" } else { "BROKEN" };
        [name.clone(), format!("{measured} {unit}"), format!("{op} {limit} {unit}"), verdict.into()]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    let line = |[a, b, c, d]: &[String; 4]| {
        format!("{a:<0$}  {b:>1$}  {c:>2$}  {d}\n", widths[0], widths[1], widths[2])
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Promise> {
        Promise::read(line).and_then(Result::ok)
    }

    #[test]
    fn lines_are_read_or_refused() {
        let promise = read("promise step-overhead 12.5 <= 50 µs per step").expect("a promise");
        assert_eq!((promise.measured, promise.limit), (12.5, 50.0));
        assert_eq!(
            (promise.name.as_str(), promise.unit.as_str()),
            ("step-overhead", "µs per step")
        );
        assert!(Promise::read("promised land").is_none());
        for wrong in ["promise a b <= 1 s", "promise a 1 = 1 s", "promise a 1 <= 1"] {
            assert!(matches!(Promise::read(wrong), Some(Err(_))), "{wrong}");
        }
    }

    #[test]
    fn promises_are_kept_or_broken() {
        for (line, kept) in [
            ("promise a 50 <= 50 s", true),
            ("promise a 51 <= 50 s", false),
            ("promise a 50 < 50 s", false),
            ("promise a 1.2 >= 1.0 GB/s", true),
            ("promise a 0.9 >= 1.0 GB/s", false),
            ("promise a 1.0 > 1.0 x", false),
        ] {
            assert_eq!(read(line).expect("a promise").kept(), kept, "{line}");
        }
        let table = table(&[read("promise log 300 >= 400 MB/s").expect("a promise")]);
        assert!(table.ends_with("log      300 MB/s  >= 400 MB/s  BROKEN\n"), "{table}");
    }
}
