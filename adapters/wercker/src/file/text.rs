//! Small grammars of values: variables, words of a shell, what is near to what.

/// Fills in `$NAME` and `${NAME}`; a variable that is not there is empty, any other `$` stays.
pub(crate) fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|r| r.split_once('}'));
        let (name, after) = match braced {
            Some((name, after)) if is_name(name) => (name, after),
            _ => rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
        };
        if is_name(name) {
            out.push_str(&variable(name).unwrap_or_default());
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// Whether a text has a variable to fill in.
pub(crate) fn has_variable(text: &str) -> bool {
    let begins = |rest: &str| {
        let name = rest.strip_prefix('{').unwrap_or(rest);
        name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
    };
    text.split('$').skip(1).any(begins)
}

/// Whether a text can be the name of a variable.
pub(crate) fn is_name(text: &str) -> bool {
    text.chars().all(is_word) && text.starts_with(|c: char| !c.is_ascii_digit())
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// Splits a text into words as a shell does, with quotes and backslashes and nothing else; `None`
/// for a quote that has no end or a backslash behind which nothing is.
pub fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, text.chars());
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// The candidate that a word is a misspelling of.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let room = match word.chars().count() {
        0..=2 => return None,
        3..=5 => 1,
        _ => 2,
    };
    let distance = |c: &str| match c.to_lowercase() {
        // A forgotten dash is no more than that.
        c if c.replace('-', "") == word.replace('-', "") => 0,
        c => strsim::osa_distance(&word, &c),
    };
    let near = candidates.into_iter().map(|c| (distance(c), c)).filter(|(d, _)| *d <= room);
    near.min().map(|(_, c)| c)
}
