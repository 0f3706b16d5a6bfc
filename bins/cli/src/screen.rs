//! A screen that moves: lines that stay go by above, what runs is drawn below and drawn again.

mod bar;
mod board;
mod look;
mod tail;

pub(crate) use board::Board;
pub(crate) use look::{Look, Paint};

use crate::instructions::Tally;
use console::Term;
use kiln::port::LogRecord;
use std::time::{Duration, Instant};

/// How often a screen is drawn.
pub(crate) const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A board on a terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    term: Term,
    board: Board,
    begin: Instant,
    /// Lines that stay and are not printed yet.
    staying: Vec<String>,
    drawn: Drawn,
}

/// What is on the terminal now, above the cursor: how wide each line is.
#[derive(Debug, Default)]
struct Drawn {
    widths: Vec<usize>,
    columns: usize,
}

impl Drawn {
    /// How many rows it takes on a terminal of a size that may have changed: most terminals wrap
    /// the lines they have when they become narrower.
    fn rows(&self, columns: usize, rows: usize) -> usize {
        let wrapped = |width: &usize| width.div_ceil(columns.max(1)).max(1);
        let all = if columns == self.columns {
            self.widths.len()
        } else {
            self.widths.iter().map(wrapped).sum()
        };
        all.min(rows.saturating_sub(1))
    }
}

impl Screen {
    pub(crate) fn new(term: Term, board: Board) -> Self {
        let (staying, drawn) = (Vec::new(), Drawn::default());
        Self { term, board, begin: Instant::now(), staying, drawn }
    }

    /// Rows and columns. One column stays free: a line that fills its row makes some terminals
    /// begin another.
    fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.term.size();
        (usize::from(rows).max(2), usize::from(columns).max(2) - 1)
    }

    pub(crate) fn take(&mut self, record: &LogRecord) {
        let lines = self.board.take(record, self.begin.elapsed(), self.size().1);
        self.staying.extend(lines);
    }

    /// Takes in the names of all steps there are by now.
    pub(crate) fn name(&mut self, all: Vec<String>) {
        self.board.name(all);
    }

    /// Adds a line that stays: what was heard of the user's wish to stop.
    pub(crate) fn stopping(&mut self, line: String) {
        self.board.stop();
        self.say(line);
    }

    /// Adds a line that stays.
    pub(crate) fn say(&mut self, line: String) {
        self.staying.push(line);
    }

    /// Draws it as it is now.
    pub(crate) fn draw(&mut self) {
        let (rows, columns) = self.size();
        let frame = self.board.frame(self.begin.elapsed(), columns, rows - 1);
        self.paint(frame, rows, columns);
    }

    fn paint(&mut self, frame: Vec<String>, rows: usize, columns: usize) {
        let mut out = String::from("\r");
        let up = self.drawn.rows(columns + 1, rows);
        if up > 0 {
            out.push_str(&format!("\u{1b}[{up}A"));
        }
        if !self.staying.is_empty() || self.drawn.columns != columns + 1 {
            out.push_str("\u{1b}[J");
        }
        for line in self.staying.drain(..) {
            out.push_str(&line);
            out.push_str("\r\n");
        }
        for line in &frame {
            out.push_str(line);
            out.push_str("\u{1b}[K\r\n");
        }
        out.push_str("\u{1b}[J");
        let widths = frame.iter().map(|line| console::measure_text_width(line)).collect();
        self.drawn = Drawn { widths, columns: columns + 1 };
        // A terminal that went away is no reason to stop a build.
        let _ = self.term.write_str(&out);
    }

    /// Leaves only the lines that stay.
    pub(crate) fn close(mut self) -> Tally {
        let (rows, columns) = self.size();
        self.paint(vec![], rows, columns);
        self.board.tally()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_found_again_after_a_change_of_size() {
        let drawn = Drawn { widths: vec![79, 10, 0], columns: 80 };
        assert_eq!(drawn.rows(80, 24), 3);
        assert_eq!(drawn.rows(40, 24), 4);
        assert_eq!(drawn.rows(120, 24), 3);
        assert_eq!(drawn.rows(80, 3), 2);
    }
}
