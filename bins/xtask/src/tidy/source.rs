//! Source files, taken apart into code and comments just well enough to look for words.

use crate::error::{Context, Result};
use std::fs;
use std::path::Path;

/// A Rust source file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the checkout's root, with forward slashes.
    pub(super) path: String,
    /// The code: comments and the insides of literals are blanks. Lines stay where they are.
    pub(super) code: String,
    /// The comments: everything else is blank.
    pub(super) comments: String,
}

impl Source {
    /// Takes a text apart.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        Self { path: path.to_owned(), code, comments }
    }

    /// How many lines it has.
    pub(super) fn lines(&self) -> usize {
        self.code.lines().count()
    }

    /// The code without its unit tests, which end a file.
    pub(super) fn code_without_tests(&self) -> &str {
        self.code.split("#[cfg(test)]").next().unwrap_or_default()
    }
}

/// Every Rust file of the checkout, sorted.
pub(super) fn files(root: &Path) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(dir).context(format!("cannot read {}", dir.display()))? {
        let entry = entry.context(format!("cannot read {}", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().context(format!("cannot look at {name}"))?;
        let path = format!("{prefix}{name}");
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).context(format!("cannot read {path}"))?;
            files.push(Source::new(&path, &text));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Code,
    LineComment,
    /// How deep block comments are nested.
    BlockComment(u32),
    Text,
    /// How many `#` close it.
    RawText(usize),
}

fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let mut splitter = Splitter { chars: &chars, at: 0, code: String::new(), notes: String::new() };
    let mut mode = Mode::Code;
    while splitter.at < chars.len() {
        mode = match mode {
            Mode::Code => splitter.code(),
            Mode::LineComment | Mode::BlockComment(_) => splitter.comment(mode),
            Mode::Text | Mode::RawText(_) => splitter.text(mode),
        };
    }
    (splitter.code, splitter.notes)
}

/// Each step takes a few characters, writes as many to both sides and says what comes next.
struct Splitter<'a> {
    chars: &'a [char],
    at: usize,
    code: String,
    notes: String,
}

impl Splitter<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self, count: usize, code: bool, note: bool) {
        for _ in 0..count {
            let Some(&c) = self.chars.get(self.at) else { return };
            let blank = if c == '\n' { '\n' } else { ' ' };
            self.code.push(if code { c } else { blank });
            self.notes.push(if note { c } else { blank });
            self.at += 1;
        }
    }

    fn code(&mut self) -> Mode {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => Mode::LineComment,
            ('/', '*') => {
                self.take(2, false, true);
                Mode::BlockComment(1)
            }
            ('"', _) => {
                self.take(1, true, false);
                Mode::Text
            }
            ('r', '"' | '#') if !self.after_word() => self.raw_text(),
            ('\'', _) => {
                self.character();
                Mode::Code
            }
            _ => {
                self.take(1, true, false);
                Mode::Code
            }
        }
    }

    /// Whether the last character belongs to a word: then `r` does not begin a literal, except
    /// behind a lone `b` or `c`.
    fn after_word(&self) -> bool {
        let mut before = self.code.chars().rev();
        match (before.next(), before.next()) {
            (Some('b' | 'c'), Some(c)) => c.is_alphanumeric() || c == '_',
            (Some('b' | 'c'), None) | (None, _) => false,
            (Some(c), _) => c.is_alphanumeric() || c == '_',
        }
    }

    fn raw_text(&mut self) -> Mode {
        let hashes = (1..).take_while(|&ahead| self.peek(ahead) == '#').count();
        if self.peek(1 + hashes) == '"' {
            self.take(2 + hashes, true, false);
            return Mode::RawText(hashes);
        }
        // A raw identifier.
        self.take(1, true, false);
        Mode::Code
    }

    /// A character literal, or a lifetime.
    fn character(&mut self) {
        let length = match (self.peek(1), self.peek(2)) {
            ('\\', _) => (3..14).find(|&ahead| self.peek(ahead) == '\''),
            (_, '\'') => Some(2),
            _ => None,
        };
        self.take(1, true, false);
        if let Some(length) = length {
            self.take(length - 1, false, false);
            self.take(1, true, false);
        }
    }

    fn comment(&mut self, mode: Mode) -> Mode {
        match (mode, self.peek(0), self.peek(1)) {
            (Mode::LineComment, '\n', _) => Mode::Code,
            (Mode::BlockComment(1), '*', '/') => {
                self.take(2, false, true);
                Mode::Code
            }
            (Mode::BlockComment(depth), '*', '/') => {
                self.take(2, false, true);
                Mode::BlockComment(depth - 1)
            }
            (Mode::BlockComment(depth), '/', '*') => {
                self.take(2, false, true);
                Mode::BlockComment(depth + 1)
            }
            _ => {
                self.take(1, false, true);
                mode
            }
        }
    }

    fn text(&mut self, mode: Mode) -> Mode {
        match mode {
            Mode::RawText(hashes)
                if self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#') =>
            {
                self.take(1 + hashes, true, false);
                return Mode::Code;
            }
            Mode::Text if self.peek(0) == '\\' => self.take(2, false, false),
            Mode::Text if self.peek(0) == '"' => {
                self.take(1, true, false);
                return Mode::Code;
            }
            _ => self.take(1, false, false),
        }
        mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("x.rs", text).code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn literals_and_comments_are_not_code() {
        assert_eq!(code("a(\"b // c\\\" d\"); // e"), "a(\" \");");
        assert_eq!(code("a /* b /* c */ d */ e"), "a e");
        assert_eq!(code("r#\"a \" b\"# c"), "r#\" \"# c");
        assert_eq!(code("br\"a\" c"), "br\" \" c");
        assert_eq!(code("var\"a\""), "var\" \"");
        assert_eq!(code("'{' '\\'' '\\u{1F600}' x"), "' ' ' ' ' ' x");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("r#type x"), "r#type x");
    }

    #[test]
    fn comments_are_found_and_lines_stay() {
        let source = Source::new("x.rs", "a; // one\n\"two\n// no\";\n/* three */ b");
        assert_eq!(source.comments.lines().count(), 4);
        let words: Vec<_> = source.comments.split_whitespace().collect();
        assert_eq!(words, ["//", "one", "/*", "three", "*/"]);
    }
}
