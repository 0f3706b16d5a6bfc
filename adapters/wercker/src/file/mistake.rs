//! What was probably meant where a text is no YAML: from the kind of the error, and from the lines
//! around it, never from the words of the one who found it.

use super::{
    Diagnostic, Place, Source,
    diagnostic::printable,
    limits::DEPTH_MAX,
    lines::{Line, line_at, line_of, next_line, quoted, shown, value_of},
    yaml,
};
use granit_parser::{ErrorKind as Kind, ScanError};

/// Explains why a text is no YAML. `last` is the last text that could be read before.
pub(crate) fn diagnose(source: &Source, error: &ScanError, last: Option<Place>) -> Diagnostic {
    let at = yaml::place(source, *error.marker(), *error.marker());
    let page = Page { source, at, last };
    let line = page.line();
    if ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.text.starts_with(mark)) {
        let error =
            source.error(line.whole(), "merge-conflict", "a merge left its marks in the file");
        return error.help("Choose one of the two parts, and remove the marks around them.");
    }
    if line.before().contains('\t') || is_tab(error.kind()) {
        return page.tab();
    }
    match error.kind() {
        Kind::RecursionLimitExceeded => {
            source.error(at, "too-deep", format!("lists and maps are more than {DEPTH_MAX} deep"))
        }
        Kind::UnclosedQuotedScalar
        | Kind::InvalidQuotedScalarIndent
        | Kind::DocumentIndicatorInQuotedScalar => page.open_quote(),
        Kind::InvalidTrailingSingleQuotedScalar | Kind::InvalidTrailingDoubleQuotedScalar => {
            page.behind_quote()
        }
        Kind::UnknownQuotedScalarEscape
        | Kind::InvalidQuotedScalarHexEscape
        | Kind::InvalidUnicodeEscape => page.escape(),
        Kind::UnexpectedCharacter { character } => page.reserved(*character),
        Kind::UnclosedFlowCollection { .. }
        | Kind::UnexpectedEofFlowSequence
        | Kind::UnexpectedEofFlowMapping
        | Kind::ExpectedFlowMappingSeparator
        | Kind::ExpectedFlowSequenceSeparator
        | Kind::InvalidColonPlacement
        | Kind::MismatchedFlowCollectionEnd { .. } => page.bracket(),
        Kind::BlockSequenceEntryNotAllowed => page.list_behind_key(),
        _ => page.structure(),
    }
}

fn is_tab(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::TabNotAllowed
            | Kind::TabInBlockIndentation
            | Kind::TabInIndentation
            | Kind::TabAtBlockScalarStart
    )
}

struct Page<'a> {
    source: &'a Source,
    at: Place,
    last: Option<Place>,
}

impl<'a> Page<'a> {
    fn line(&self) -> Line<'a> {
        line_at(self.source, self.at)
    }

    /// The line on which the last text began, if that is another one.
    fn last_line(&self) -> Option<Line<'a>> {
        let last = self.last.filter(|last| last.line < self.at.line)?;
        Some(line_at(self.source, last))
    }

    fn tab(&self) -> Diagnostic {
        let line = self.line();
        let (before, rest) = line.text.split_at(line.before().len());
        let from = before.find('\t').unwrap_or_default();
        let place = line.place(from, before.len().max(from));
        self.source
            .error(place, "tab", "the line is indented with a tab")
            .expected("blanks only")
            .help("Write two blanks for each step of indentation.")
            .mended(format!("{}{}", before.replace('\t', "  "), shown(rest)))
    }

    /// A quote that has no end, or one that the next lines end by accident.
    fn open_quote(&self) -> Diagnostic {
        let from = self.last.map_or(0, |last| last.end).min(self.at.start);
        let text = self.source.text();
        let quoted = text.get(from..).and_then(|t| t.find(['"', '\'']).map(|i| from + i));
        let start = quoted.unwrap_or(self.at.start);
        let line = line_of(self.source, start);
        let place = line.place(start - line.start, line.text.trim_end().len());
        let quote = text.get(start..=start).unwrap_or("\"");
        self.source
            .error(place, "unbalanced-quote", format!("the quote {quote} has no end on its line"))
            .expected(format!("another {quote} at the end of the value"))
            .mended(format!("{}{quote}", shown(line.text.trim_end())))
    }

    /// A quoted text with something behind it.
    fn behind_quote(&self) -> Diagnostic {
        let line = self.line();
        let (head, rest) = line.split();
        let Some((key, value)) = value_of(rest) else { return self.indentation() };
        let from = head.len() + key.len();
        let place = line.place(from, from + value.len());
        let error = self
            .source
            .error(place, "unbalanced-quote", "something stands behind the quoted value")
            .expected("nothing but a comment behind the closing quote");
        let inner = value.strip_prefix('\'').map(|v| v.strip_suffix('\'').unwrap_or(v));
        let mended = inner.map_or_else(|| quoted(value), quoted);
        error
            .help("Put the whole value into quotes; a ' in single quotes is written as ''.")
            .mended(format!("{head}{key}{}", shown(&mended)))
    }

    fn escape(&self) -> Diagnostic {
        let line = self.line();
        let error = self
            .source
            .error(
                line.whole(),
                "unknown-escape",
                "a backslash in double quotes means nothing here",
            )
            .help("Write \\\\ for a backslash, or use single quotes, in which it is just one.");
        let (head, rest) = line.split();
        let Some((key, value)) = value_of(rest) else { return error };
        let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        let plain = inner.filter(|v| !v.contains('"'));
        let fixed = plain.map(|v| format!("{head}{key}{}", shown(&quoted(v))));
        fixed.map_or(error.clone(), |fixed| error.mended(fixed))
    }

    /// A value that begins with a character that YAML keeps for itself.
    fn reserved(&self, character: char) -> Diagnostic {
        let line = self.line();
        let end = line.start + line.text.trim_end().len();
        let place = Place { end: end.max(self.at.start), ..self.at };
        let name = character.escape_debug();
        let error = self
            .source
            .error(place, "reserved-character", format!("a value cannot begin with `{name}`"))
            .expected("the value in quotes");
        let from = self.at.start.saturating_sub(line.start);
        let (Some(head), Some(value)) = (line.text.get(..from), line.text.get(from..)) else {
            return error;
        };
        error.mended(format!("{}{}", shown(head), shown(&quoted(value.trim_end()))))
    }

    /// A list or a map in brackets that does not end, or does not end where it should.
    fn bracket(&self) -> Diagnostic {
        let text = &self.source.text()[..self.at.start.min(self.source.text().len())];
        let mut open = Vec::new();
        for (at, c) in text.char_indices() {
            match c {
                '[' | '{' => open.push(at),
                ']' | '}' => drop(open.pop()),
                _ => {}
            }
        }
        let start = open.last().copied().unwrap_or(self.at.start);
        let line = line_of(self.source, start);
        let place = line.place(start - line.start, line.text.trim_end().len());
        let close = if text[start..].starts_with('{') { '}' } else { ']' };
        self.source
            .error(place, "unbalanced-bracket", "the bracket is not closed")
            .expected(format!("`{close}` at the end, and `,` between the elements"))
            .help("A value that just begins with a bracket has to be in quotes.")
    }

    /// `key: - value`.
    fn list_behind_key(&self) -> Diagnostic {
        let line = self.line();
        let error = self
            .source
            .error(line.whole(), "indentation", "a list begins on the line of its key")
            .expected("each `- ` on a line of its own");
        let Some((key, item)) = line.text.split_once(": - ") else { return error };
        let blanks = " ".repeat(line.indent() + 2);
        error.mended(shown(&format!("{key}:\n{blanks}- {item}")))
    }

    /// The lines do not fit together.
    fn structure(&self) -> Diagnostic {
        let line = self.line();
        let colon =
            |above: Line<'_>| missing_colon(self.source, above, next_line(self.source, above)?);
        if let Some(told) = self.last_line().and_then(colon).or_else(|| colon(line)) {
            return told;
        }
        let near = [self.last_line(), Some(line)];
        if let Some(told) = near.into_iter().flatten().find_map(|l| missing_space(self.source, l)) {
            return told;
        }
        let (head, rest) = line.split();
        if let Some((key, value)) = value_of(rest) {
            let from = head.len() + key.len();
            let place = line.place(from, from + value.len());
            let mended = || format!("{}{}", shown(&format!("{head}{key}")), shown(&quoted(value)));
            if value.contains(": ") || value.ends_with(':') {
                return self
                    .source
                    .error(
                        place,
                        "unquoted-colon",
                        "a value without quotes has a colon and a blank",
                    )
                    .expected("the value in quotes, or `|` and the value below")
                    .mended(mended());
            }
            if value.starts_with(['[', '{']) && self.last.is_some_and(|l| l.line == line.number) {
                return self
                    .source
                    .error(
                        place,
                        "unquoted-bracket",
                        "a value that begins with a bracket goes on behind it",
                    )
                    .expected("the value in quotes")
                    .mended(mended());
            }
        } else if !line.text.trim_start().starts_with("- ") && !rest.contains(':') {
            return self
                .source
                .error(line.whole(), "no-key", "the line is neither `key: value` nor `- value`")
                .help("If it goes on with the text above, indent it like that.");
        }
        self.indentation()
    }

    fn indentation(&self) -> Diagnostic {
        let line = self.line();
        let mut indents: Vec<usize> = Vec::new();
        let text = &self.source.text()[..line.start];
        for above in text.lines().rev() {
            let above = Line { start: 0, number: 0, text: above };
            let rest = above.text.trim();
            let deepest = indents.last().copied().unwrap_or(usize::MAX);
            if rest.is_empty() || rest.starts_with('#') || above.indent() >= deepest {
                continue;
            }
            let (head, _) = above.split();
            let inner = head.chars().count();
            if inner > above.indent() && inner < deepest {
                indents.push(inner);
            }
            indents.push(above.indent());
            if above.indent() == 0 || indents.len() > 8 {
                break;
            }
        }
        let has = line.indent();
        if indents.contains(&has) {
            let message = "the line does not go on with what is above it in its column";
            let error = self.source.error(line.whole(), "indentation", message);
            let list = line.text.trim_start().starts_with("- ");
            let expected = if list { "`key:` of the map above" } else { "`- ` of the list above" };
            return error.expected(expected).help("Indent it like what it belongs to.");
        }
        let places: Vec<String> = indents.iter().rev().map(ToString::to_string).collect();
        let message = format!("the line is indented by {has}, which fits nothing above it");
        let error = self.source.error(line.whole(), "indentation", message);
        let error = match places.as_slice() {
            [] => error,
            [only] => error.expected(format!("an indentation of {only}")),
            [many @ .., last] => {
                error.expected(format!("an indentation of {} or {last}", many.join(", ")))
            }
        };
        error.help("What belongs together begins in the same column.")
    }
}

/// `- hipchat-notify` and deeper keys: the example of the document itself.
pub(crate) fn missing_colon(
    source: &Source,
    above: Line<'_>,
    below: Line<'_>,
) -> Option<Diagnostic> {
    let (head, rest) = above.split();
    let word = rest.trim_end();
    let bare = !word.is_empty() && !word.contains(": ") && !word.ends_with(':');
    let fine = |c: char| c.is_alphanumeric() || "-_/@.\"':".contains(c);
    let (_, first) = below.split();
    let deeper = below.indent() >= head.chars().count().max(above.indent() + 1);
    let odd = word.split(' ').count() > 2 || !word.chars().all(|c| fine(c) || c == ' ');
    if !bare || odd || !deeper || missing_space(source, above).is_some() {
        return None;
    }
    let list = below.text.trim_start().starts_with("- ");
    if list && !head.trim().is_empty() || !list && !first.contains(':') {
        return None;
    }
    let place = above.place(head.len(), head.len() + word.len());
    let what = if list { "a list" } else { "keys" };
    let message =
        format!("there is no colon behind `{}`, and {what} below it", printable(word, 60));
    Some(
        source
            .error(place, "missing-colon", message)
            .expected("a colon behind what has something below it")
            .mended(format!("{}:", shown(above.text.trim_end()))),
    )
}

/// `key:value` without a blank.
pub(crate) fn missing_space(source: &Source, line: Line<'_>) -> Option<Diagnostic> {
    let (head, rest) = line.split();
    let dash = rest.strip_prefix('-').filter(|r| r.starts_with(|c: char| c.is_alphanumeric()));
    if let Some(item) = dash.filter(|_| head.trim().is_empty()) {
        let place = line.place(head.len(), head.len() + rest.trim_end().len());
        return Some(
            source
                .error(place, "missing-space", "there is no blank behind the dash")
                .expected("`- ` before each element of a list")
                .mended(format!("{head}- {}", shown(item.trim_end()))),
        );
    }
    let (key, value) = rest.split_once(':')?;
    let word = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    let glued = value.starts_with(|c: char| !c.is_whitespace() && c != ':' && c != '/');
    if !word || !glued || value.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let place = line.place(head.len(), head.len() + key.len() + 1);
    Some(
        source
            .error(place, "missing-space", format!("there is no blank behind `{key}:`"))
            .expected("a colon and a blank between a key and its value")
            .mended(format!("{head}{key}: {}", shown(value.trim_end()))),
    )
}
