//! Reads escaped characters, in the notations that tools print text in.

/// How characters are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// `%2F`, as in URLs and forms (RFC 3986).
    Percent,
    /// `\n`, `\"`, `\/`, `\x0a`, `\012`, `\u000a`, `\U0000000a`, `\u{a}` and `\` before a mark or a
    /// space: JSON (RFC 8259), Go's `%q`, `{:?}` of Rust, `repr` of Python, `$'…'` and `printf %q`
    /// of shells.
    Backslash,
    /// `\\n`, `\\\"`, `\\u000a`: the same twice, as of JSON in JSON. What is escaped once is left.
    Twice,
    /// `&amp;`, `&lt;`, `&gt;`, `&quot;`, `&apos;`, `&#38;` and `&#x26;` (XML 1.0, HTML).
    Entity,
}

/// What is at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A character that stands for itself.
    Plain,
    /// Not known before there is more.
    More,
    /// An escaped character of `len` bytes stands for the first `count` of `bytes`.
    Escaped { len: usize, bytes: [u8; 4], count: usize },
}

impl Escape {
    pub(super) const ALL: [Self; 4] = [Self::Percent, Self::Backslash, Self::Twice, Self::Entity];

    /// The byte that every escaped character begins with.
    pub(super) fn mark(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Backslash | Self::Twice => b'\\',
            Self::Entity => b'&',
        }
    }

    /// Reads what is at the beginning of a text that is not empty. Not more than 13 bytes are needed.
    pub(super) fn read(self, text: &[u8]) -> Read {
        if text.first() != Some(&self.mark()) {
            return Read::Plain;
        }
        match self {
            Self::Percent => digits(&text[1..], 2, 16).escaped(1, Value::Byte),
            Self::Backslash => backslash(text),
            Self::Twice => twice(text),
            Self::Entity => entity(text),
        }
    }
}

/// What digits were read.
enum Digits {
    Not,
    More,
    Number(u32, usize),
}

enum Value {
    Byte,
    Char,
}

impl Digits {
    /// The escaped character that the digits stand for; `around` says how many bytes it has besides.
    fn escaped(self, around: usize, value: Value) -> Read {
        match self {
            Self::Not => Read::Plain,
            Self::More => Read::More,
            Self::Number(n, count) => match value {
                Value::Byte => u8::try_from(n).map_or(Read::Plain, |c| byte(around + count, c)),
                Value::Char => char::from_u32(n).map_or(Read::Plain, |c| char(around + count, c)),
            },
        }
    }
}

/// Exactly so many digits.
fn digits(text: &[u8], count: usize, radix: u32) -> Digits {
    let mut number = 0;
    for at in 0..count {
        let Some(&c) = text.get(at) else { return Digits::More };
        let Some(digit) = char::from(c).to_digit(radix) else { return Digits::Not };
        number = number * radix + digit;
    }
    Digits::Number(number, count)
}

/// Digits, at most so many, and the byte that ends them, which is counted with them.
fn digits_until(text: &[u8], max: usize, radix: u32, end: u8) -> Digits {
    let is_digit = |c: &&u8| char::from(**c).is_digit(radix);
    let count = text.iter().take(max).take_while(is_digit).count();
    match text.get(count) {
        None => Digits::More,
        Some(c) if *c == end && count > 0 => match digits(text, count, radix) {
            Digits::Number(number, count) => Digits::Number(number, count + 1),
            other => other,
        },
        Some(_) => Digits::Not,
    }
}

fn byte(len: usize, c: u8) -> Read {
    Read::Escaped { len, bytes: [c, 0, 0, 0], count: 1 }
}

fn char(len: usize, c: char) -> Read {
    let mut bytes = [0; 4];
    let count = c.encode_utf8(&mut bytes).len();
    Read::Escaped { len, bytes, count }
}

fn backslash(text: &[u8]) -> Read {
    let Some(&c) = text.get(1) else { return Read::More };
    match c {
        b'a' => byte(2, 7),
        b'b' => byte(2, 8),
        b'e' | b'E' => byte(2, 27),
        b'f' => byte(2, 12),
        b'n' => byte(2, b'\n'),
        b'r' => byte(2, b'\r'),
        b't' => byte(2, b'\t'),
        b'v' => byte(2, 11),
        b'0'..=b'7' => octal(&text[1..]),
        b'x' => digits(&text[2..], 2, 16).escaped(2, Value::Byte),
        b'u' if text.get(2) == Some(&b'{') => {
            digits_until(&text[3..], 6, 16, b'}').escaped(3, Value::Char)
        }
        b'u' => utf16(text),
        b'U' => digits(&text[2..], 8, 16).escaped(2, Value::Char),
        b' ' => byte(2, c),
        c if c.is_ascii_punctuation() => byte(2, c),
        _ => Read::Plain,
    }
}

/// One to three digits that are one byte.
fn octal(text: &[u8]) -> Read {
    let is_digit = |c: &&u8| matches!(**c, b'0'..=b'7');
    let count = text.iter().take(3).take_while(is_digit).count();
    if count < 3 && count == text.len() {
        return Read::More;
    }
    digits(text, count, 8).escaped(1, Value::Byte)
}

/// `\u` and four digits, or two of them for a character that has no other way.
fn utf16(text: &[u8]) -> Read {
    let high = match digits(&text[2..], 4, 16) {
        Digits::Number(high @ 0xD800..0xDC00, _) => high,
        other => return other.escaped(2, Value::Char),
    };
    let rest = &text[6..];
    let expected = &b"\\u"[..rest.len().min(2)];
    if !rest.starts_with(expected) {
        return Read::Plain;
    }
    match digits(rest.get(2..).unwrap_or_default(), 4, 16) {
        Digits::Number(low @ 0xDC00..0xE000, _) => {
            let number = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            Digits::Number(number, 4).escaped(8, Value::Char)
        }
        Digits::More => Read::More,
        _ => Read::Plain,
    }
}

fn twice(text: &[u8]) -> Read {
    match text.get(1..3) {
        Some([b'\\', b'\\']) => match text.get(3) {
            None => Read::More,
            Some(c) if c.is_ascii_punctuation() => byte(4, *c),
            Some(_) => Read::Plain,
        },
        // A mark would not be escaped once only.
        Some([b'\\', c]) if c.is_ascii_alphanumeric() => match backslash(&text[1..]) {
            Read::Escaped { len, bytes, count } => Read::Escaped { len: len + 1, bytes, count },
            other => other,
        },
        Some(_) => Read::Plain,
        None if text.get(1).is_none_or(|c| *c == b'\\') => Read::More,
        None => Read::Plain,
    }
}

fn entity(text: &[u8]) -> Read {
    match text.get(1..3) {
        Some([b'#', b'x' | b'X']) => {
            return digits_until(&text[3..], 6, 16, b';').escaped(3, Value::Char);
        }
        Some([b'#', _]) => return digits_until(&text[2..], 7, 10, b';').escaped(2, Value::Char),
        _ => {}
    }
    let names =
        [(&b"amp;"[..], b'&'), (b"lt;", b'<'), (b"gt;", b'>'), (b"quot;", b'"'), (b"apos;", b'\'')];
    for (name, c) in names {
        if text[1..].starts_with(name) {
            return byte(1 + name.len(), c);
        }
        if name.starts_with(&text[1..]) {
            return Read::More;
        }
    }
    if text[1..] == *b"#" { Read::More } else { Read::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(escape: Escape, text: &str, expected: &str) {
        let read = escape.read(text.as_bytes());
        match read {
            Read::Escaped { len, bytes, count } => {
                assert_eq!((&bytes[..count], len), (expected.as_bytes(), text.len()), "{text}");
                for more in 0..len {
                    let read = escape.read(&text.as_bytes()[..more.max(1)]);
                    assert_eq!(read, Read::More, "{}", &text[..more.max(1)]);
                }
                assert!(len <= 13);
            }
            _ => panic!("{text} is {read:?}"),
        }
    }

    #[test]
    fn every_notation_is_read() {
        check(Escape::Percent, "%2f", "/");
        check(Escape::Percent, "%4A", "J");
        for (text, c) in [
            ("n", "\n"),
            ("t", "\t"),
            ("\"", "\""),
            ("'", "'"),
            ("/", "/"),
            ("\\", "\\"),
            (" ", " "),
        ] {
            check(Escape::Backslash, &format!("\\{text}"), c);
        }
        for text in [r"\x2f", r"\057", r"\u002F", r"\U0000002f", r"\u{2f}"] {
            check(Escape::Backslash, text, "/");
        }
        check(Escape::Backslash, r"\u00fc", "ü");
        check(Escape::Backslash, r"\ud83d\uDE00", "😀");
        check(Escape::Twice, r"\\n", "\n");
        check(Escape::Twice, r#"\\\""#, "\"");
        check(Escape::Twice, r"\\\\", "\\");
        check(Escape::Twice, r"\\u0026", "&");
        for (text, c) in [("amp", "&"), ("quot", "\""), ("#39", "'"), ("#x27", "'"), ("#252", "ü")]
        {
            check(Escape::Entity, &format!("&{text};"), c);
        }
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        for (escape, texts) in [
            (Escape::Percent, &["%%", "% 4", "%4g", "x"][..]),
            (Escape::Backslash, &["\\q", "\\\n", "\\u{}", "\\u12g4", "\\ud83dx", "\\ud83d\\u0041"]),
            (Escape::Backslash, &["\\x4g", "\\777", "\\u{110000}", "\\UFFFFFFFF"]),
            (Escape::Twice, &["\\n", "\\\"", "\\\\ ", "\\\\\\a"]),
            (Escape::Entity, &["&&", "& ", "&am ", "&#;", "&#x;", "&#99999999;", "&#x110000;"]),
        ] {
            for text in texts {
                assert_eq!(escape.read(text.as_bytes()), Read::Plain, "{text}");
            }
        }
    }
}
