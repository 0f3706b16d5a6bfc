//! `.dockerignore`, read as Docker reads it.
//!
//! The rules are those of `github.com/moby/patternmatcher`: pieces of Go's `filepath.Match`, `**`
//! for any number of directories, `!` for exceptions, and the last pattern that matches a path or
//! one of its parents decides.

use std::fmt;

/// A pattern that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreError {
    /// The line of the file, from 1.
    pub line: usize,
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for IgnoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`: {}", self.line, self.pattern, self.problem)
    }
}

impl std::error::Error for IgnoreError {}

/// A `.dockerignore` file, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
    exceptions: bool,
}

#[derive(Clone, Debug)]
struct Pattern {
    exception: bool,
    tokens: Vec<Token>,
    /// The name, if nothing in the pattern is special.
    literal: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Just this character.
    Char(char),
    /// One character that is not `/`.
    One,
    /// Any number of characters that are not `/`.
    Many,
    /// Nothing, or anything that ends with `/`.
    Directories,
    /// Anything.
    Rest,
    /// One of these ranges, or none of them.
    Class { not: bool, ranges: Vec<(char, char)> },
}

/// Reads a file.
pub fn parse(text: &str) -> Result<Matcher, IgnoreError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut matcher = Matcher::default();
    for (i, line) in text.lines().enumerate() {
        // Only a `#` in the first column begins a comment.
        if !line.starts_with('#') {
            matcher.add(line).map_err(|e| IgnoreError { line: i + 1, ..e })?;
        }
    }
    Ok(matcher)
}

impl Matcher {
    /// Takes in one more pattern as it stands in a file; a blank one is none.
    pub(crate) fn add(&mut self, pattern: &str) -> Result<(), IgnoreError> {
        let trimmed = pattern.trim();
        let fail = |problem| IgnoreError {
            line: 1,
            pattern: trimmed.chars().take(200).collect(),
            problem,
        };
        let (exception, rest) = match trimmed.strip_prefix('!') {
            Some("") => return Err(fail("an exception needs a pattern after `!`")),
            Some(rest) => (true, rest.trim()),
            None => (false, trimmed),
        };
        if !rest.is_empty() {
            self.put(exception, rest).map_err(fail)?;
        }
        Ok(())
    }

    /// Takes in the name of a file or directory, in which only wildcards are special.
    pub(crate) fn add_name(&mut self, name: &str) -> Result<(), IgnoreError> {
        self.put(false, name).map_err(|problem| IgnoreError {
            line: 1,
            pattern: name.chars().take(200).collect(),
            problem,
        })
    }

    fn put(&mut self, exception: bool, pattern: &str) -> Result<(), &'static str> {
        let clean = clean(pattern);
        let clean =
            if clean.len() > 1 { clean.strip_prefix('/').unwrap_or(&clean) } else { &clean };
        self.patterns.push(Pattern::new(exception, tokens(clean)?));
        self.exceptions |= exception;
        Ok(())
    }

    /// Whether a path, relative and with `/` between its parts, is left out.
    pub fn excludes(&self, path: &str) -> bool {
        let mut room = Room::default();
        let mut excluded = false;
        for pattern in &self.patterns {
            // A pattern that could change nothing need not be looked at.
            if pattern.exception == excluded && pattern.matches_or_parent(path, &mut room) {
                excluded = !pattern.exception;
            }
        }
        excluded
    }

    /// Whether nothing below an excluded directory can be wanted, so that it need not be read.
    pub fn prunes(&self, directory: &str) -> bool {
        !self.exceptions && self.excludes(directory)
    }
}

impl Pattern {
    fn new(exception: bool, tokens: Vec<Token>) -> Self {
        let chars = tokens.iter().map(|t| match t {
            Token::Char(c) => Some(*c),
            _ => None,
        });
        let literal = chars.collect::<Option<String>>();
        Self { exception, tokens, literal }
    }

    fn matches_or_parent(&self, path: &str, room: &mut Room) -> bool {
        match &self.literal {
            Some(name) => path
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => self.leads_to_an_end(path, room),
        }
    }

    /// All places in the path that a beginning of the pattern can lead to, token by token: no
    /// pattern takes more than the product of both lengths. At its end it must have led to the end
    /// of the path or of one of its parents.
    fn leads_to_an_end(&self, path: &str, room: &mut Room) -> bool {
        let Room { of, chars, at, next } = room;
        if of != path {
            *of = path.to_owned();
            *chars = path.chars().collect();
        }
        at.clear();
        at.resize(chars.len() + 1, false);
        at[0] = true;
        for token in &self.tokens {
            next.clear();
            next.resize(chars.len() + 1, false);
            token.step(chars, at, next);
            std::mem::swap(at, next);
        }
        (0..at.len()).any(|i| at[i] && chars.get(i).is_none_or(|c| *c == '/'))
    }
}

/// What matching needs, kept from one pattern to the next.
#[derive(Default)]
struct Room {
    of: String,
    chars: Vec<char>,
    at: Vec<bool>,
    next: Vec<bool>,
}

impl Token {
    /// From the places that were led to before this token to those after it.
    fn step(&self, path: &[char], at: &[bool], next: &mut [bool]) {
        match self {
            Self::Many => {
                let mut reached = false;
                for i in 0..=path.len() {
                    reached = at[i] || (reached && path[i - 1] != '/');
                    next[i] = reached;
                }
            }
            Self::Rest => {
                let first = at.iter().position(|a| *a).unwrap_or(at.len());
                next[first..].fill(true);
            }
            Self::Directories => {
                let mut reached = false;
                for i in 0..=path.len() {
                    next[i] = at[i] || (reached && path[i - 1] == '/');
                    reached |= at[i];
                }
            }
            _ => {
                for i in 0..path.len() {
                    next[i + 1] = at[i] && self.takes(path[i]);
                }
            }
        }
    }

    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::One => c != '/',
            Self::Class { not, ranges } => {
                ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)) != *not
            }
            _ => false,
        }
    }
}

/// Go's `filepath.Clean` for slashes.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_none() { Token::Rest } else { Token::Directories }
            }
            '*' => Token::Many,
            '?' => Token::One,
            '[' => class(&mut chars)?,
            '\\' => Token::Char(chars.next().ok_or("a backslash at its end escapes nothing")?),
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "`[` has no `]`";
    let not = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let mut one = || match chars.next().ok_or(OPEN)? {
            '\\' => Ok::<_, &'static str>((chars.next().ok_or(OPEN)?, true)),
            c => Ok((c, false)),
        };
        let (low, escaped) = one()?;
        if low == ']' && !escaped {
            return if ranges.is_empty() {
                Err("`[]` matches nothing")
            } else {
                Ok(Token::Class { not, ranges })
            };
        }
        let high = match chars.next_if_eq(&'-') {
            None => low,
            Some(_) => match chars.next().ok_or(OPEN)? {
                ']' => return Err("a range has no end"),
                '\\' => chars.next().ok_or(OPEN)?,
                c => c,
            },
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(file: &str, out: &[&str], kept: &[&str]) {
        let matcher = parse(file).unwrap();
        out.iter().for_each(|p| assert!(matcher.excludes(p), "{p} is left out"));
        kept.iter().for_each(|p| assert!(!matcher.excludes(p), "{p} is kept"));
    }

    #[test]
    fn a_pattern_is_bound_to_the_root() {
        check("foo", &["foo", "foo/a", "foo/a/b"], &["sub/foo", "foobar", "fo"]);
        check("/foo/", &["foo", "foo/a"], &["sub/foo"]);
        check("./a/../b", &["b"], &["a"]);
        check("*.log", &["a.log", ".log"], &["sub/a.log", "a.logs"]);
        check("a?c", &["abc"], &["a/c", "ac", "abbc"]);
        check("[a-c]x", &["ax", "bx/y"], &["dx"]);
        check("[^a]x", &["bx"], &["ax"]);
        check("a\\*b", &["a*b"], &["axb"]);
        check("a.b", &["a.b"], &["axb"]);
    }

    #[test]
    fn two_stars_are_any_number_of_directories() {
        check("**/foo", &["foo", "a/foo", "a/b/foo/c"], &["afoo", "a/bfoo"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "b"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/xb", "ab"]);
        check("**", &["a", "a/b"], &[]);
        check("**/*.go", &["x.go", "a/b/x.go"], &["x.gox"]);
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        check("*\n!keep", &["a", "b/c"], &["keep", "keep/x/k"]);
        check("keep\n!keep/x/k.txt", &["keep/a", "keep/x/l"], &["keep/x/k.txt"]);
        check("!a\na", &["a"], &["b"]);
        check("a\n!a\na/b", &["a/b"], &["a", "a/c"]);
    }

    #[test]
    fn comments_blanks_and_line_ends_are_as_docker_has_them() {
        check("\u{feff}# no\r\n\r\n  foo  \r\n #bar\r\n", &["foo", "#bar"], &["# no", "bar"]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for (bad, line) in
            [("a\n!", 2), ("[", 1), ("\n\na[b", 3), ("[]", 1), ("[a-]", 1), ("a\\", 1)]
        {
            assert_eq!(parse(bad).unwrap_err().line, line, "{bad}");
        }
    }

    #[test]
    fn only_a_file_without_exceptions_prunes() {
        assert!(parse("a").unwrap().prunes("a"));
        assert!(!parse("a\n!a/b").unwrap().prunes("a"));
    }

    proptest! {
        #[test]
        fn a_name_matches_as_a_pattern_does(name in "[a./]{1,6}", path in "[a./]{0,12}") {
            let matcher = parse(&name).unwrap();
            for pattern in matcher.patterns {
                let slow = Pattern { literal: None, ..pattern.clone() };
                let (mut one, mut other) = (Room::default(), Room::default());
                prop_assert_eq!(
                    pattern.matches_or_parent(&path, &mut one),
                    slow.matches_or_parent(&path, &mut other)
                );
            }
        }

        #[test]
        fn no_input_panics_or_hangs(file in "[a*?/!\\[\\]^\\\\\n -]{0,60}", path in "[a/]{0,40}") {
            if let Ok(matcher) = parse(&file) {
                let _ = matcher.excludes(&path);
            }
        }
    }
}
