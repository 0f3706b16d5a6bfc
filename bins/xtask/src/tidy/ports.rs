//! A port has at most five required methods.

use super::Finding;
use super::source::Source;

const MOST: usize = 5;

/// Counts the required methods of every trait in core's ports.
pub(super) fn check(files: &[Source]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.path.starts_with("core/src/port"))
        .flat_map(|file| traits(&file.code).into_iter().map(move |found| (file, found)))
        .filter(|(_, found)| found.required > MOST && !found.name.ends_with("Ext"))
        .map(|(file, found)| {
            let what = format!(
                "{} has {} required methods, a port has at most {MOST}; comfort lives in an Ext trait",
                found.name, found.required
            );
            Finding::new(format!("{}:{}", file.path, found.line), what)
        })
        .collect()
}

#[derive(Debug, PartialEq)]
struct Trait {
    name: String,
    line: usize,
    required: usize,
}

fn traits(code: &str) -> Vec<Trait> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("pub trait ") {
        let rest = &code[at + "pub trait ".len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let Some(open) = rest.find('{') else { continue };
        found.push(Trait {
            name: rest[..end].to_owned(),
            line: code[..at].lines().count() + 1,
            required: required(&rest[open + 1..]),
        });
    }
    found
}

/// Methods without a body at the top level of a trait that was just opened.
fn required(body: &str) -> usize {
    let (mut braces, mut brackets, mut count, mut in_method) = (0_usize, 0_usize, 0, false);
    let mut word = String::new();
    for c in body.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if braces == 0 && brackets == 0 && word == "fn" {
            in_method = true;
        }
        word.clear();
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => {
                // A body: the method is provided.
                in_method &= braces > 0;
                braces += 1;
            }
            '}' if braces == 0 => break,
            '}' => braces -= 1,
            ';' if braces == 0 && brackets == 0 => {
                count += usize::from(in_method);
                in_method = false;
            }
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_required_methods_count() {
        let code = "
pub trait Store: Debug {
    type X;
    async fn one(&self, f: &mut dyn FnMut(u8) -> bool);
    fn two(&self, x: [u8; 2]) -> u8;
    fn given(&self) { let x = 1; fn inner(); }
}
pub trait Other { fn one(); }";
        let found = traits(code);
        assert_eq!(found[0], Trait { name: "Store".into(), line: 2, required: 2 });
        assert_eq!(found[1], Trait { name: "Other".into(), line: 8, required: 1 });
    }

    #[test]
    fn six_are_too_many() {
        let six = format!("pub trait Big {{ {} }}", "fn f();".repeat(6));
        assert_eq!(check(&[Source::new("core/src/port/big.rs", &six)]).len(), 1);
        assert!(check(&[Source::new("core/src/engine.rs", &six)]).is_empty());
        let ext = six.replace("Big", "BigExt");
        assert!(check(&[Source::new("core/src/port/big.rs", &ext)]).is_empty());
    }
}
