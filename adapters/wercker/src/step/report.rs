//! What a step told in its report files.

use std::collections::BTreeMap;

/// The note of a step in which its `message.txt` is.
pub const MESSAGE: &str = "message";
/// The note of a step in which its `numbers.ini` is.
pub const NUMBERS: &str = "numbers";
/// How long a message may be, in bytes.
const MESSAGE_MAX: usize = 4096;
/// How many numbers are read, and how long the name of one may be, in bytes.
const NUMBERS_MAX: (usize, usize) = (256, 128);

/// What a step told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// `message.txt`, if there is more than blanks in it.
    pub message: Option<String>,
    /// `numbers.ini`: the names are those of the sections and of the numbers, with a dot between.
    pub numbers: BTreeMap<String, f64>,
    /// How many lines of `numbers.ini` are neither numbers nor comments, or too many.
    pub ignored: usize,
}

impl Report {
    /// Reads the notes of a command: the files under [`MESSAGE`] and [`NUMBERS`].
    pub fn read(notes: &BTreeMap<String, String>) -> Self {
        let mut report =
            Self { message: notes.get(MESSAGE).and_then(|t| message(t)), ..Self::default() };
        if let Some(text) = notes.get(NUMBERS) {
            report.take_numbers(text);
        }
        report
    }

    /// The report as flat notes: `message`, and `numbers.<name>` for each number.
    pub fn notes(&self) -> BTreeMap<String, String> {
        let numbers = self.numbers.iter().map(|(k, v)| (format!("{NUMBERS}.{k}"), v.to_string()));
        let message = self.message.iter().map(|text| (MESSAGE.to_owned(), text.clone()));
        message.chain(numbers).collect()
    }

    fn take_numbers(&mut self, text: &str) {
        let mut section = String::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = format!("{}.", name.trim());
                continue;
            }
            let number = line.split_once(['=', ':']).and_then(|(name, value)| {
                let value = value.trim().parse::<f64>().ok().filter(|v| v.is_finite())?;
                let name = Some(name.trim()).filter(|name| !name.is_empty())?;
                Some((format!("{section}{name}"), value))
            });
            let legal = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
            match number {
                Some((name, value))
                    if name.len() <= NUMBERS_MAX.1
                        && name.chars().all(legal)
                        && (self.numbers.len() < NUMBERS_MAX.0
                            || self.numbers.contains_key(&name)) =>
                {
                    self.numbers.insert(name, value);
                }
                _ => self.ignored += 1,
            }
        }
    }
}

/// The text of a `message.txt`: trimmed, bounded, and without what a terminal would obey.
fn message(text: &str) -> Option<String> {
    let clean: String =
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let text = clean.trim();
    let cut = text.char_indices().map(|(at, c)| at + c.len_utf8()).find(|&end| end > MESSAGE_MAX);
    match cut {
        Some(end) => {
            let start = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
            Some(format!("{}…", &text[..start]))
        }
        None if text.is_empty() => None,
        None => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(message: &str, numbers: &str) -> Report {
        let note = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        Report::read(&[note(MESSAGE, message), note(NUMBERS, numbers)].into())
    }

    #[test]
    fn both_files_become_notes() {
        let numbers =
            "\u{feff}# c\n; c\ncount = 3\n[time]\r\ntotal=1.50\nmax : 2e3\n\nx\ny=nan\n=1\n";
        let report = of("  deployed 3 files \n", numbers);
        assert_eq!(report.ignored, 2 + 1);
        let notes: Vec<_> = report.notes().into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        let expected = [
            "message=deployed 3 files",
            "numbers.count=3",
            "numbers.time.max=2000",
            "numbers.time.total=1.5",
        ];
        assert_eq!(notes, expected);
        assert_eq!(Report::read(&BTreeMap::new()), Report::default());
    }

    #[test]
    fn what_a_step_tells_is_bounded_and_tame() {
        let report = of(&format!("\u{1b}[2J{}", "ü".repeat(5000)), &"a".repeat(1000));
        let message = report.message.unwrap();
        assert!(message.len() <= MESSAGE_MAX + 3 && message.starts_with("[2Jü"));
        let many: String = (0..300).map(|n| format!("n{n}=1\n")).collect();
        let report = of(" \n", &many);
        assert_eq!((report.numbers.len(), report.ignored, report.message), (256, 44, None));
    }

    proptest! {
        #[test]
        fn any_text_gives_an_answer(message in any::<String>(), numbers in any::<String>()) {
            let report = of(&message, &numbers);
            prop_assert!(report.numbers.values().all(|v| v.is_finite()));
        }
    }
}
