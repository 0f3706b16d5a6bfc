use std::collections::BTreeSet;

/// Names that steps of the plan around a pipeline have: no step of a pipeline takes one.
pub const RESERVED_NAMES: [&str; 4] = ["get code", "get input", "read pipeline", "fetch"];

/// How long the name of a step may be, in bytes, with room for a number behind it.
const NAME_MAX: usize = 120;

/// The names of steps: readable, and no two the same.
#[derive(Debug)]
pub(super) struct Names(BTreeSet<String>);

impl Default for Names {
    fn default() -> Self {
        Self(RESERVED_NAMES.map(str::to_owned).into())
    }
}

impl Names {
    /// The wanted name, or with a number: `script (2)`.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let name = shortened(wanted);
        let numbered = |n: usize| if n == 1 { name.clone() } else { format!("{name} ({n})") };
        let free = (1..).map(numbered).find(|name| !self.0.contains(name));
        let free = free.unwrap_or_default();
        self.0.insert(free.clone());
        free
    }
}

/// One line that is not too long.
fn shortened(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = if text.trim().is_empty() { "step" } else { text.trim() };
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > NAME_MAX - '…'.len_utf8()) {
        Some((at, _)) if text.len() > NAME_MAX => format!("{}…", &text[..at]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_the_same() {
        let mut names = Names::default();
        let taken = ["script", "script", "fetch", "script (2)", "script", " \n"];
        let taken = taken.map(|wanted| names.take(wanted));
        assert_eq!(
            taken,
            ["script", "script (2)", "fetch (2)", "script (2) (2)", "script (3)", "step"]
        );
    }

    #[test]
    fn a_long_name_has_room_for_its_number() {
        let mut names = Names::default();
        let long = "ü".repeat(100);
        let (one, two) = (names.take(&long), names.take(&long));
        assert!(one.ends_with("ü…") && two.ends_with("ü… (2)"), "{one} {two}");
        assert!(two.len() <= 128, "{}", two.len());
        assert_eq!(names.take(&"a".repeat(NAME_MAX)).len(), NAME_MAX);
    }
}
