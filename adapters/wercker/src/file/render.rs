//! Diagnostics for a terminal.

use super::{Diagnostic, Severity};
use std::fmt::Write;

/// Colours of a terminal, or none.
struct Paint(bool);

impl Paint {
    fn text(&self, colour: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A diagnostic as lines for a terminal: what, where, the line with a mark below, what was expected
/// and what to do. Ends with a line end. Nothing of the file reaches the terminal as a command.
pub fn render(diagnostic: &Diagnostic, colour: bool) -> String {
    let Diagnostic { severity, code, message, file, line, column, .. } = diagnostic;
    let paint = Paint(colour);
    let bright = if *severity == Severity::Error { "1;31" } else { "1;33" };
    let digits = line.to_string().len().max(diagnostic.mended.as_ref().map_or(0, |_| 1));
    let margin = " ".repeat(digits);
    let bar = paint.text("34", "|");
    let mut out = String::new();
    let head = paint.text(bright, &format!("{severity}[{code}]"));
    let _ = writeln!(out, "{head}: {}", paint.text("1", message));
    let _ = writeln!(out, "{margin}{} {file}:{line}:{column}", paint.text("34", "-->"));
    if let Some(source) = &diagnostic.source {
        let (shown, before, wide) = cut(source, *column, diagnostic.length);
        let _ = writeln!(out, "{margin} {bar}");
        let _ = writeln!(out, "{} {bar} {shown}", paint.text("34", &line.to_string()));
        let mark = paint.text(bright, &"^".repeat(wide));
        let _ = writeln!(out, "{margin} {bar} {before}{mark}");
    }
    let note = |out: &mut String, word: &str, text: &str| {
        let _ = writeln!(out, "{margin} {} {word}: {text}", paint.text("34", "="));
    };
    if let Some(expected) = &diagnostic.expected {
        note(&mut out, "expected", expected);
    }
    if let Some(mended) = &diagnostic.mended {
        note(&mut out, "write", "");
        let start = out.trim_end().len();
        out.truncate(start);
        out.push('\n');
        for line in mended.lines() {
            let _ = writeln!(out, "{margin} {bar} {}", paint.text("32", &line.replace('\t', " ")));
        }
    }
    if let Some(help) = &diagnostic.help {
        note(&mut out, "help", help);
    }
    if let Some(related) = &diagnostic.related {
        let place = format!("{} ({file}:{}:{})", related.message, related.line, related.column);
        note(&mut out, "see", &place);
    }
    out
}

/// How much of a line is shown.
const WIDTH: usize = 100;

/// The part of a line around a column, the blanks before the mark, and how wide the mark is.
fn cut(source: &str, column: u32, length: u32) -> (String, String, usize) {
    let chars: Vec<char> = source.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let at = (column as usize).saturating_sub(1);
    let from = if at < WIDTH * 3 / 4 { 0 } else { at - WIDTH / 2 };
    let part = chars.iter().skip(from).take(WIDTH);
    let mut shown: String = part.collect();
    let ahead = if from > 0 { "…" } else { "" };
    if chars.len() > from + WIDTH {
        shown.push('…');
    }
    let before = " ".repeat(at - from + ahead.chars().count());
    let wide = (length as usize).clamp(1, (WIDTH + from).saturating_sub(at).max(1));
    (format!("{ahead}{shown}"), before, wide)
}
