//! What marks and colours a screen may use.

use crate::print;

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) colours: bool,
    pub(crate) unicode: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Paint {
    Bold,
    Dim,
    Good,
    Bad,
    Busy,
}

impl Look {
    /// The look of an output, by its kind and the environment.
    pub(crate) fn of(output: &impl std::io::IsTerminal) -> Self {
        Self { colours: print::colours(output), unicode: print::unicode() }
    }

    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        if !self.colours || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Busy => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    pub(crate) fn good(self) -> String {
        self.paint(Paint::Good, if self.unicode { "✓" } else { "+" })
    }

    pub(crate) fn bad(self) -> String {
        self.paint(Paint::Bad, if self.unicode { "✗" } else { "x" })
    }

    /// What stands before a step that is at work.
    pub(crate) fn busy(self) -> String {
        self.paint(Paint::Busy, if self.unicode { "▸" } else { ">" })
    }

    pub(crate) fn warning(self) -> String {
        self.paint(Paint::Busy, "!")
    }

    /// What turns while something runs, by the time that passed.
    pub(crate) fn spinner(self, time: std::time::Duration) -> String {
        let frames: Vec<char> =
            if self.unicode { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" } else { r"|/-\" }.chars().collect();
        let frame = frames[(time.as_millis() / 100) as usize % frames.len()];
        self.paint(Paint::Busy, &frame.to_string())
    }

    /// What stands before a line of output.
    pub(crate) fn gutter(self) -> String {
        self.paint(Paint::Dim, if self.unicode { "│" } else { "|" })
    }
}
