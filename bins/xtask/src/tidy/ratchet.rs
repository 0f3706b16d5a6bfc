//! Files are at most 400 lines long and functions at most 70. `tidy-ratchet.txt` may list longer
//! ones with their length, one `LENGTH PATH` or `LENGTH PATH FUNCTION` a line; they may only shrink.

use super::Finding;
use super::source::Source;
use crate::error::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const FILE: usize = 400;
const FUNCTION: usize = 70;
const LIST: &str = "bins/xtask/tidy-ratchet.txt";

/// Measures every file and function.
pub(super) fn check(root: &Path, files: &[Source]) -> Result<Vec<Finding>> {
    let list = match fs::read_to_string(root.join(LIST)) {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context(format!("cannot read {LIST}")),
    };
    Ok(compare(&list, files))
}

fn compare(list: &str, files: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut listed = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(' ').and_then(|(length, name)| Some((name, length.parse().ok()?))) {
            Some((name, length)) => drop(listed.insert(name.to_owned(), length)),
            None => findings.push(Finding::new(LIST, format!("cannot read `{line}`"))),
        }
    }
    for long in measure(files) {
        let place = format!("{}:{}", long.path, long.line);
        match listed.remove(&long.name) {
            None => findings.push(Finding::new(
                place,
                format!("{} has {} lines, {} are enough", long.kind, long.length, long.limit),
            )),
            Some(was) if long.length > was => findings.push(Finding::new(
                place,
                format!(
                    "{} grew from {was} to {} lines; it may only shrink",
                    long.kind, long.length
                ),
            )),
            Some(was) if long.length < was => findings.push(Finding::new(
                LIST,
                format!("`{}` shrank to {}; write that down", long.name, long.length),
            )),
            Some(_) => {}
        }
    }
    let gone = |name| Finding::new(LIST, format!("`{name}` is not too long any more; remove it"));
    findings.extend(listed.into_keys().map(gone));
    findings
}

/// A file or function above its limit.
struct Long {
    name: String,
    path: String,
    line: usize,
    kind: String,
    length: usize,
    limit: usize,
}

fn measure(files: &[Source]) -> Vec<Long> {
    let mut long = Vec::new();
    for file in files {
        let path = file.path.clone();
        if file.lines() > FILE {
            let (name, kind) = (path.clone(), "this file".to_owned());
            let length = file.lines();
            long.push(Long { name, path: path.clone(), line: 1, kind, length, limit: FILE });
        }
        for function in functions(&file.code).into_iter().filter(|f| f.length > FUNCTION) {
            let (name, kind) = (format!("{path} {}", function.name), function.name);
            let (path, line, length) = (path.clone(), function.line, function.length);
            long.push(Long { name, path, line, kind, length, limit: FUNCTION });
        }
    }
    long
}

#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    line: usize,
    length: usize,
}

/// Every function that has a body, from its `fn` to its closing brace.
fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + 3..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let Some(length) = (end > 0).then(|| body_end(rest)).flatten() else { continue };
        found.push(Function {
            name: rest[..end].to_owned(),
            line: code[..at].matches('\n').count() + 1,
            length: rest[..length].matches('\n').count() + 1,
        });
    }
    found
}

/// Where the function's body ends, unless it has none.
fn body_end(text: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return (braces == 1).then_some(at),
            '}' => braces -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_function(lines: usize) -> Source {
        let body = "    x();\n".repeat(lines - 2);
        Source::new("a.rs", &format!("fn f(a: [u8; 2]) {{\n{body}}}\n"))
    }

    fn what(list: &str, file: Source) -> Vec<String> {
        compare(list, &[file]).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let found = functions("trait T {\n fn a();\n fn b(x: fn(u8)) {\n  { }\n }\n}\nfn c() {}");
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.length)).collect();
        assert_eq!(found, [("b", 3, 3), ("c", 7, 1)]);
    }

    #[test]
    fn limits_hold() {
        assert!(what("", long_function(70)).is_empty());
        assert_eq!(what("", long_function(71)), ["f has 71 lines, 70 are enough"]);
        assert!(what("", Source::new("a.rs", &"x\n".repeat(400))).is_empty());
        assert_eq!(what("", Source::new("a.rs", &"x\n".repeat(401))).len(), 1);
    }

    #[test]
    fn the_list_only_shrinks() {
        assert!(what("# why\n90 a.rs f\n", long_function(90)).is_empty());
        assert!(what("90 a.rs f", long_function(91))[0].contains("only shrink"));
        assert!(what("90 a.rs f", long_function(80))[0].contains("write that down"));
        assert!(what("90 a.rs f", long_function(60))[0].contains("remove it"));
        assert!(what("a.rs", long_function(60))[0].contains("cannot read"));
    }
}
