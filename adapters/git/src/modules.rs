//! `.gitmodules`, read for two things only: where a submodule lies and where it comes from.
//!
//! A submodule's name is never used, so it can name no directory; `update`, which can name a
//! program, is never read; and a value with a control character is refused rather than cut.

/// One submodule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) path: String,
    pub(crate) url: String,
}

/// Reads the submodules that have a path and a URL. The error says which line is wrong.
pub(crate) fn parse(text: &str) -> Result<Vec<Module>, String> {
    let mut modules: Vec<Module> = Vec::new();
    let mut inside = false;
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let wrong = |what: &str| format!("line {} of .gitmodules {what}", number + 1);
        let mut line = first.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            inside = header.trim_start().to_ascii_lowercase().starts_with("submodule");
            if !header.contains(']') {
                return Err(wrong("has no end of its section"));
            }
            if inside {
                modules.push(Module::default());
            }
            continue;
        }
        while ends_open(&line) {
            line.pop();
            let Some((_, next)) = lines.next() else { break };
            line.push_str(next);
        }
        let (key, value) = line.split_once('=').unwrap_or((&line, ""));
        let key = key.trim().to_ascii_lowercase();
        let Some(module) = modules.last_mut().filter(|_| inside) else { continue };
        if key == "path" || key == "url" {
            let value =
                unquote(value).ok_or_else(|| wrong("has a value that is not well formed"))?;
            if value.chars().any(char::is_control) {
                return Err(wrong("has a control character"));
            }
            match key.as_str() {
                "path" => module.path = value.trim_end_matches('/').to_owned(),
                _ => module.url = value,
            }
        }
    }
    modules.retain(|m| !m.path.is_empty() && !m.url.is_empty());
    Ok(modules)
}

/// Whether a line ends in a backslash that is not itself escaped.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// A value as git reads it: quotes keep spaces and comment signs, a backslash escapes.
fn unquote(raw: &str) -> Option<String> {
    let (mut value, mut kept) = (String::new(), 0);
    let mut quoted = false;
    let mut chars = raw.trim_start().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '#' | ';' if !quoted => break,
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'b' => '\u{8}',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
        if quoted || !(c == ' ' || c == '\t') {
            kept = value.len();
        }
    }
    value.truncate(kept);
    (!quoted).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let modules = parse(text).unwrap();
        let found: Vec<_> = modules.iter().map(|m| (m.path.as_str(), m.url.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn paths_and_urls_are_read_and_nothing_else() {
        check(
            "# x\n[core]\n\tpath = no\n[submodule \"../../evil\"]\n\tpath = lib/ ; where\n\
             \turl=https://h/a.git\n\tupdate = !touch /tmp/x\n[Submodule \"b\"]\nPATH = \"b # c\"\n\
             url = ../\\\nb.git\n[submodule \"half\"]\npath = half\n",
            &[("lib", "https://h/a.git"), ("b # c", "../b.git")],
        );
        check("", &[]);
        check("url = x\npath = y\n", &[]);
    }

    #[test]
    fn values_that_git_and_others_read_differently_are_refused() {
        for bad in ["path = \"a", "path = a\\x", "path = \"a\r\"", "path = a\\n", "url = \"a\\tb\""]
        {
            let text = format!("[submodule \"x\"]\n{bad}\n");
            assert!(parse(&text).unwrap_err().contains("line 2"), "{bad}");
        }
        assert!(parse("[submodule \"x\"\npath=a").is_err());
    }
}
