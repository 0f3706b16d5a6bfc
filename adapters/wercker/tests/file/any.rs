//! Any bytes give an answer: no panic, no error without a place, nothing that a terminal obeys.

use crate::parts::LINES;
use kiln_wercker::file::{File, Parsed, render};
use proptest::prelude::*;

/// What holds for any answer.
fn holds(text: &[u8], parsed: &Parsed) {
    let lines = text.iter().filter(|&&b| b == b'\n' || b == b'\r').count() + 1;
    for diagnostic in &parsed.diagnostics {
        assert!(diagnostic.line >= 1 && diagnostic.column >= 1, "{diagnostic:?}");
        assert!(diagnostic.line as usize <= lines + 1, "{diagnostic:?} of {lines} lines");
        let shown = render(diagnostic, false);
        let odd = |c: &char| c.is_control() && *c != '\n';
        assert!(!shown.chars().any(|c| odd(&c)), "a control character in {shown:?}");
        assert!(!diagnostic.to_string().contains('\n'), "more than a line: {diagnostic}");
        let json = serde_json::to_string(diagnostic).expect("a diagnostic is JSON");
        let back = serde_json::from_str(&json).expect("JSON is a diagnostic");
        assert_eq!(diagnostic, &back);
    }
    assert_eq!(parsed.file.is_none(), parsed.diagnostics.iter().any(|d| d.is_error()));
    let Some(file) = &parsed.file else { return };
    for def in &file.pipelines {
        let place = def.name.place;
        assert!(place.start < place.end && place.end <= text.len(), "{place:?}");
        let _ = file.pipeline(&def.name, None);
    }
}

/// A line that could be in such a file.
fn line() -> impl Strategy<Value = String> {
    let part = prop::sample::select(LINES.to_vec());
    (0..7usize, part, "[ -~\\t]{0,6}")
        .prop_map(|(indent, line, more)| format!("{}{line}{more}\n", "  ".repeat(indent)))
}

proptest! {
    #[test]
    fn any_bytes(text in prop::collection::vec(any::<u8>(), 0..300)) {
        holds(&text, &File::parse("wercker.yml", &text));
    }

    #[test]
    fn any_text(text in "[\\[\\]{}:,&*!|>'\"%@`#?\\- a-c\\n\\t\\r]{0,80}") {
        holds(text.as_bytes(), &File::parse("wercker.yml", text.as_bytes()));
    }

    #[test]
    fn any_lines(lines in prop::collection::vec(line(), 0..25)) {
        let text = lines.concat();
        holds(text.as_bytes(), &File::parse("wercker.yml", text.as_bytes()));
    }

    /// What is broken at one place is still a file to speak of.
    #[test]
    fn any_cut(at in 0usize..2000, with in any::<u8>()) {
        let whole = include_str!("../../../../tests/golden/wercker/file/document.txt");
        let mut text = whole.split("--->").next().unwrap_or_default().as_bytes().to_vec();
        let at = at % text.len();
        text[at] = with;
        holds(&text, &File::parse("wercker.yml", &text));
    }
}
