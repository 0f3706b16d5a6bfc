//! The line breaks after which base64 and hexadecimal digits may go on.

use super::{coded::is_base64, matcher::Input};

/// How many characters there have to be in a line that is broken. Encoders break lines of 60
/// characters and more; what they print may stand after something else.
pub(super) const WIDTH_MIN: usize = 32;
/// How far the next line may be indented.
const INDENT_MAX: usize = 32;

/// Line breaks as they are, and as they are escaped in JSON, also twice, and in URLs.
const BREAKS: [&[u8]; 10] =
    [b"\n", b"\r\n", br"\n", br"\r\n", br"\\n", br"\\r\\n", b"%0A", b"%0D%0A", b"%0a", b"%0d%0a"];

/// What is at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Break {
    No,
    /// Not known before there is more.
    More,
    /// A break of so many bytes.
    Bytes(usize),
}

/// Whether what ends here is a line that may have been broken.
pub(super) fn is_full(input: &Input<'_>, at: u64) -> bool {
    let before = input.before(at);
    before.len() >= WIDTH_MIN
        && before[before.len() - WIDTH_MIN..].iter().rev().all(|c| is_base64(*c))
}

/// Reads a line break and the white space after it.
pub(super) fn read(input: &Input<'_>, at: u64) -> Break {
    let text = input.from(at);
    if !matches!(text, [b'\n' | b'\r' | b'\\' | b'%', ..]) || !is_full(input, at) {
        return Break::No;
    }
    let Some(line_break) = BREAKS.iter().find(|b| text.starts_with(b)) else {
        let may_be = BREAKS.iter().any(|b| b.starts_with(text));
        return if may_be { Break::More } else { Break::No };
    };
    let width = line_break.len();
    let indent = text[width..].iter().take(INDENT_MAX);
    let indent = indent.take_while(|c| matches!(c, b' ' | b'\t')).count();
    match text.get(width + indent) {
        None => Break::More,
        Some(c) if is_base64(*c) => Break::Bytes(width + indent),
        Some(_) => Break::No,
    }
}
