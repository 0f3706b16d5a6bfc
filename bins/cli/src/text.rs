//! Text for people: cleaned, cut to a width, and numbers with their units.

use kiln::Timestamp;
use std::{borrow::Cow, time::Duration};

/// Whether a character could move the cursor, change the terminal, or show text in another order
/// than it has.
fn is_unwanted(c: char) -> bool {
    let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reorders || (c.is_control() && c != '\n' && c != '\t')
}

/// Text from elsewhere without anything that could move the cursor or change the terminal. Line
/// breaks and tabs stay, and so do colours, which end where the text ends.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    filter(text, true)
}

/// As [`clean`], without colours.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    filter(text, false)
}

fn filter(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.contains(is_unwanted) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    let mut open = false;
    while let Some(at) = rest.find(is_unwanted) {
        out.push_str(&rest[..at]);
        let (sequence, after) = sequence(&rest[at..]);
        if colours && sequence.ends_with('m') {
            out.push_str(sequence);
            open = !matches!(sequence, "\u{1b}[m" | "\u{1b}[0m");
        }
        rest = after;
    }
    out.push_str(rest);
    if open {
        out.push_str("\u{1b}[0m");
    }
    Cow::Owned(out)
}

/// Takes one control sequence off the beginning of a text. Of an operating system command, which
/// sets titles and makes links, the words go too.
fn sequence(text: &str) -> (&str, &str) {
    let end = if let Some(body) = text.strip_prefix("\u{1b}[") {
        let end =
            body.find(|c: char| !matches!(c, '0'..='9' | ';' | ':' | '?')).unwrap_or(body.len());
        2 + end + body[end..].chars().next().map_or(0, char::len_utf8)
    } else if let Some(body) = text.strip_prefix("\u{1b}]") {
        match body.find(['\u{7}', '\u{1b}', '\n']) {
            Some(at) if body[at..].starts_with("\u{1b}\\") => 2 + at + 2,
            Some(at) if body[at..].starts_with('\u{7}') => 2 + at + 1,
            Some(at) => 2 + at,
            None => text.len(),
        }
    } else {
        text.chars().next().map_or(0, char::len_utf8)
    };
    text.split_at(end)
}

/// The first so many columns of a line, with a mark where something is missing. Tabs become spaces.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    let line = if line.contains('\t') { line.replace('\t', "    ") } else { line.to_owned() };
    console::truncate_str(&line, columns, "…").into_owned()
}

/// A number of bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A time for people.
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1}s", time.as_secs_f64().min(59.9)),
        s @ 60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

/// How long ago something was, for lists.
pub(crate) fn ago(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..60 => format!("{s}s ago"),
        s @ 60..3600 => format!("{}m ago", s / 60),
        s @ 3600..86_400 => format!("{}h ago", s / 3600),
        s => format!("{}d ago", s / 86_400),
    }
}

/// A moment in UTC as RFC 3339 has it, to the millisecond.
pub(crate) fn moment(at: Timestamp) -> String {
    let (days, ms) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = date(days);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1000)
}

/// The date of a day since 1970. Eras of 400 years begin in March, so that a leap day ends a year.
fn date(days: u64) -> (u64, u64, u64) {
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, day - (153 * from_march + 2) / 5 + 1)
}

/// Reads a moment as RFC 3339 has it, such as `2026-01-31T12:00:00Z`, or a date alone, in UTC; `None`
/// if it is neither.
pub(crate) fn read_moment(text: &str) -> Option<Timestamp> {
    let Some((day, clock)) = text.split_once(['T', 't', ' ']) else {
        return at(text, "00:00:00");
    };
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return at(day, clock);
    }
    let sign = clock.rfind(['+', '-'])?;
    let (h, m) = clock[sign + 1..].split_once(':')?;
    let (h, m): (u64, u64) = (h.parse().ok()?, m.parse().ok()?);
    if h > 23 || m > 59 {
        return None;
    }
    let (there, apart) = (at(day, &clock[..sign])?.0, (h * 60 + m) * 60_000);
    let east = clock[sign..].starts_with('+');
    if east { there.checked_sub(apart) } else { there.checked_add(apart) }.map(Timestamp)
}

/// The moment of a date and a time of day, in UTC.
fn at(day: &str, clock: &str) -> Option<Timestamp> {
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Option<Vec<u64>> = text.split(by).map(|p| p.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [year, month, dom] = numbers(day, '-')?;
    let [h, m, s] = numbers(clock, ':')?;
    if !(1970..=9999).contains(&year) || h > 23 || m > 59 || s > 60 {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // There are fewer than 366 days in each year before.
    let first = (year - 1970) * 365;
    let days = (first..first + 366 * 24).find(|d| date(*d) == (year, month, dom))?;
    Some(Timestamp(days * 86_400_000 + (h * 3600 + m * 60 + s) * 1000 + ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_cannot_move_the_cursor() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m\tb\n"), "a\u{1b}[31mred\u{1b}[0m\tb\n");
        assert_eq!(clean("a\u{1b}[2Jb\u{1b}[1;1Hc\rd\u{7}"), "abcd");
        assert_eq!(clean("\u{1b}]0;title\u{7}x\u{1b}["), "x");
        assert_eq!(clean("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\."), "link.");
        assert_eq!(clean("\u{1b}]never closed"), "");
        assert_eq!(clean("a\u{202e}b"), "ab");
    }

    #[test]
    fn a_colour_does_not_outlive_its_text() {
        assert_eq!(clean("\u{1b}[1;31mred"), "\u{1b}[1;31mred\u{1b}[0m");
        assert_eq!(plain("\u{1b}[38:5:1mred\u{1b}[m!"), "red!");
    }

    #[test]
    fn lines_are_cut_by_their_columns() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("a\tb", 10), "a    b");
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!((bytes(999), bytes(1_500_000)), ("999 B".into(), "1.5 MB".into()));
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(time(Duration::from_millis(1250)), "1.2s");
        assert_eq!(time(Duration::from_millis(59_990)), "59.9s");
        assert_eq!(time(Duration::from_secs(125)), "2m05s");
    }

    #[test]
    fn moments_are_written_and_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(moment(Timestamp(ms)), text);
            assert_eq!(read_moment(text), Some(Timestamp(ms)));
        }
        assert_eq!(read_moment("2000-03-01"), Some(Timestamp(951_868_800_000)));
        let zone = read_moment("2000-03-01T01:30:00.123456789+01:30");
        assert_eq!(zone, Some(Timestamp(951_868_800_123)));
        assert_eq!(read_moment("2000-02-29T23:00:00-01:00"), Some(Timestamp(951_868_800_000)));
        for bad in [
            "",
            "x",
            "2001-02-29",
            "2024-01-01T00:00:00",
            "1970-01-01T00:00:00+01:00",
            "2024-01-01T00:00:00.é1Z",
        ] {
            assert_eq!(read_moment(bad), None, "{bad}");
        }
    }
}
