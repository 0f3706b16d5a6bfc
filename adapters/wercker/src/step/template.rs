//! Values in which variables stand: `$NAME` and `${NAME}` are replaced, everything else is itself.

use std::{borrow::Cow, fmt::Write as _};

/// A value that a user wrote, in which variables may stand.
///
/// `$NAME` and `${NAME}` stand for a variable. Backslashes right before a `$` count in pairs: each
/// pair is one backslash, and an odd one makes the dollar a dollar. All other text is itself:
/// quotes, backticks, `#`, newlines, other backslashes, `$(…)`, `$1` and `${NAME:-x}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that is itself.
    Text(String),
    /// The name of a variable.
    Variable(String),
}

impl Template {
    /// Reads a value. Every text is one.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let before = &rest[..dollar];
            let slashes = before.len() - before.trim_end_matches('\\').len();
            plain.push_str(&before[..before.len() - slashes]);
            plain.extend(std::iter::repeat_n('\\', slashes / 2));
            let after = &rest[dollar + 1..];
            match name_at(after).filter(|_| slashes.is_multiple_of(2)) {
                Some((name, length)) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Variable(name.to_owned()));
                    rest = &after[length..];
                }
                None => {
                    plain.push('$');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self { parts }
    }

    /// A text in which nothing is replaced.
    pub fn literal(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { parts: if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] } }
    }

    /// Writes a text so that [`Template::parse`] gives it back, whatever it holds.
    pub fn escape(text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut slashes = 0;
        for c in text.chars() {
            if c == '$' {
                out.extend(std::iter::repeat_n('\\', slashes + 1));
            }
            slashes = if c == '\\' { slashes + 1 } else { 0 };
            out.push(c);
        }
        out
    }

    /// Its parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its text, if no variable stands in it.
    pub fn as_literal(&self) -> Option<Cow<'_, str>> {
        match &self.parts[..] {
            [] => Some("".into()),
            [Part::Text(text)] => Some(text.into()),
            _ => None,
        }
    }

    /// Whether it is empty whatever the variables are.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The variables that stand in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// How many bytes of it are text already.
    pub fn len_of_text(&self) -> usize {
        let len = |part: &Part| if let Part::Text(text) = part { text.len() } else { 0 };
        self.parts.iter().map(len).sum()
    }

    /// Its text where the variables are known. One that is not there is empty, as in a shell.
    pub fn resolve(&self, look_up: impl Fn(&str) -> Option<String>) -> String {
        self.parts.iter().fold(String::new(), |mut all, part| {
            match part {
                Part::Text(text) => all.push_str(text),
                Part::Variable(name) => all.push_str(&look_up(name).unwrap_or_default()),
            }
            all
        })
    }

    /// One word of a shell that has this value there, whatever it holds but NUL.
    pub fn word(&self) -> String {
        if self.parts.is_empty() {
            return "''".into();
        }
        self.parts.iter().fold(String::new(), |mut all, part| {
            match part {
                Part::Text(text) => all.push_str(&quote(text)),
                // With the dash, so that `set -u` of a step harms none after it.
                Part::Variable(name) => {
                    let _ = write!(all, "\"${{{name}-}}\"");
                }
            }
            all
        })
    }

    /// What of it a shell would have run or computed, and is text here: worth a warning.
    pub fn taken_literally(text: &str) -> Option<&'static str> {
        let literal = Self::parse(text);
        let texts = literal.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Variable(_) => None,
        });
        let mut found = None;
        for text in texts {
            found = found.or(match text {
                _ if text.contains("$(") => Some("$("),
                _ if text.contains("${") => Some("${"),
                _ => None,
            });
        }
        // A dollar that was escaped is meant to be one.
        found.filter(|mark| !text.contains(&format!("\\{mark}")))
    }
}

/// The name after a `$`, and how much of the text it takes.
fn name_at(text: &str) -> Option<(&str, usize)> {
    let (inner, braces) = match text.strip_prefix('{') {
        Some(inner) => (inner, 2),
        None => (text, 0),
    };
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !inner.starts_with(letter) {
        return None;
    }
    let end = inner.find(|c: char| !letter(c) && !c.is_ascii_digit()).unwrap_or(inner.len());
    let closed = braces == 0 || inner[end..].starts_with('}');
    closed.then(|| (&inner[..end], end + braces))
}

/// A word of a shell that is this text.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for (n, piece) in text.split('\'').enumerate() {
        if n > 0 {
            out.push_str("'\\''");
        }
        out.push_str(piece);
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        Template::parse(text).resolve(|name| Some(format!("<{name}>")))
    }

    #[test]
    fn variables_expand_and_nothing_else_does() {
        let rows = [
            ("$A", "<A>"),
            ("${A}", "<A>"),
            ("$A$B_2", "<A><B_2>"),
            ("x$A-y", "x<A>-y"),
            ("${A}b", "<A>b"),
            ("$Ab.c", "<Ab>.c"),
            ("\\$A", "$A"),
            ("\\\\$A", "\\<A>"),
            ("\\\\\\$A", "\\$A"),
            ("a\\b\\\\c", "a\\b\\\\c"),
            ("\\", "\\"),
            ("$", "$"),
            ("$$", "$$"),
            ("pa$$word", "pa$<word>"),
            ("$1 $? $@ $*", "$1 $? $@ $*"),
            ("$(id) `id`", "$(id) `id`"),
            ("${A:-x} ${A", "${A:-x} ${A"),
            ("${}", "${}"),
            ("${é}$é", "${é}$é"),
            ("#\"'\n\t!", "#\"'\n\t!"),
        ];
        for (text, value) in rows {
            assert_eq!(shown(text), value, "{text}");
        }
    }

    #[test]
    fn a_word_quotes_its_text_and_not_its_variables() {
        let word = |text| Template::parse(text).word();
        assert_eq!(word(""), "''");
        assert_eq!(word("it's $A"), "'it'\\''s '\"${A-}\"");
        assert_eq!(word("\\$A"), "'$A'");
        assert_eq!(Template::literal("$A").word(), "'$A'");
    }

    #[test]
    fn what_the_original_would_have_run_is_noticed() {
        assert_eq!(Template::taken_literally("a $(id)"), Some("$("));
        assert_eq!(Template::taken_literally("a ${X:-1} $Y"), Some("${"));
        for fine in ["$X ${Y}", "\\$(id)", "\\${X:-1}", "100$", "`x`"] {
            assert_eq!(Template::taken_literally(fine), None, "{fine}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_text_is_itself(text in "[$\\\\{}A_a1'\" \\n#`é]{0,24}|\\PC*") {
            let template = Template::parse(&Template::escape(&text));
            prop_assert_eq!(template.as_literal().map(Cow::into_owned), Some(text));
        }

        #[test]
        fn every_text_is_a_template(text in any::<String>()) {
            let template = Template::parse(&text);
            prop_assert!(template.len_of_text() <= text.len());
            prop_assert!(template.variables().all(|v| !v.is_empty()));
        }
    }
}
