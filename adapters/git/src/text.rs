//! Text that came from elsewhere, made fit for a terminal.

/// How much of one line is shown.
const LINE_MAX: usize = 1000;

/// One line without escape sequences and control characters.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_until_letter(&mut chars),
            '\t' => out.push(' '),
            c if c.is_control() => {}
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => out.push(c),
        }
        if out.len() >= LINE_MAX {
            out.push('…');
            break;
        }
    }
    out.trim().to_owned()
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(chars: &mut Chars<'_>) {
    match chars.next() {
        Some('[') => skip_until_letter(chars),
        // Titles and links run to a bell or to `ESC \`.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

fn skip_until_letter(chars: &mut Chars<'_>) {
    for c in chars.by_ref() {
        if ('\u{40}'..='\u{7e}').contains(&c) {
            break;
        }
    }
}

/// Cuts what a server says into lines. What a carriage return overwrites is dropped.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Takes the next bytes and gives out the lines they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => {
                    let line = clean(&std::mem::take(&mut self.0));
                    lines.extend(Some(line).filter(|l| !l.is_empty()));
                }
                b'\r' => self.0.clear(),
                _ if self.0.len() < LINE_MAX * 4 => self.0.push(byte),
                _ => {}
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_server_says_reaches_the_terminal_raw() {
        let nasty = b"a\x1b[31mred\x1b[0m\x1b]0;title\x07b\x1b]8;;x\x1b\\c\x07\x08\xc2\x9b2Jd\xff";
        assert_eq!(clean(nasty), "aredbcd\u{fffd}");
        assert_eq!(clean("x\u{202e}y".as_bytes()), "xy");
        assert!(clean(&[b'a'; 5000]).len() < 1100);
    }

    #[test]
    fn only_the_last_word_of_a_line_is_kept() {
        let mut lines = Lines::default();
        assert!(lines.push(b"Counting: 10%\rCount").is_empty());
        assert_eq!(lines.push(b"ing: 100%\rdone\n\nnext"), ["done"]);
        assert_eq!(lines.push(b"\n"), ["next"]);
    }
}
