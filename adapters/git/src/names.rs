//! Names in a tree that no checkout may follow.

use crate::text::clean;

/// Why a name is refused, if it is.
///
/// A tree can hold any bytes as a name. Refused is whatever is not one name below its directory,
/// and whatever some file system takes for `.git`: in another case, as the short name that NTFS
/// gives it, with the dots, spaces and streams that NTFS drops, or with the characters that HFS+
/// ignores.
pub(crate) fn problem(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.contains(&b'/') || name.contains(&0) {
        return Some("it has a slash or a NUL byte");
    }
    // They forge lines of logs and of files that list files (CVE-2025-48384 was one of these).
    if name.iter().any(u8::is_ascii_control) {
        return Some("it has a control character");
    }
    if name == b"." || name == b".." {
        return Some("it leads out of its directory");
    }
    if name.len() > 255 {
        return Some("it is longer than 255 bytes");
    }
    // On Windows a backslash parts names.
    if name.split(|b| *b == b'\\').any(is_dot_git) {
        return Some("some file systems take it for `.git`");
    }
    None
}

/// A name as it can be shown: short, and without a byte that a terminal would act on.
pub(crate) fn spell(name: &[u8]) -> String {
    const SHOWN: usize = 100;
    let spelled = name[..name.len().min(SHOWN)].escape_ascii().to_string();
    let text = std::str::from_utf8(name).ok().filter(|t| t.chars().all(|c| !c.is_control()));
    match text {
        Some(_) if name.len() > SHOWN => spelled + "…",
        Some(text) => clean(text.as_bytes()),
        None => spelled,
    }
}

fn is_dot_git(name: &[u8]) -> bool {
    let stream = name.split(|b| *b == b':').next().unwrap_or_default();
    let end = stream.iter().rposition(|b| !b" .".contains(b)).map_or(0, |i| i + 1);
    let plain = &stream[..end];
    if plain.eq_ignore_ascii_case(b".git") || plain.eq_ignore_ascii_case(b"git~1") {
        return true;
    }
    let visible: String =
        String::from_utf8_lossy(name).chars().filter(|c| !is_ignored_by_hfs(*c)).collect();
    visible.eq_ignore_ascii_case(".git")
}

/// The characters that HFS+ leaves out when it compares names.
fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_dot_git_is_refused() {
        let bad: [&[u8]; 22] = [
            b"",
            b".",
            b"..",
            b"a/b",
            b"a\0b",
            b".git",
            b".GIT",
            b".Git",
            b"git~1",
            b"GIT~1",
            b".git.",
            b".git ",
            b".git. .",
            b".git::$INDEX_ALLOCATION",
            b".git:x",
            b"git~1:x",
            b".git\\config",
            b"a\\.git",
            b"..\\.git\\hooks",
            ".g\u{200c}it".as_bytes(),
            ".gi\u{feff}t".as_bytes(),
            "\u{200d}.GiT".as_bytes(),
        ];
        for name in bad {
            assert!(problem(name).is_some(), "{}", String::from_utf8_lossy(name));
        }
        assert_eq!(problem(&[b'a'; 256]), Some("it is longer than 255 bytes"));
        for bad in [&b"Icon\r"[..], b"a\nb", b"\x1b[2J", b"\x7f"] {
            assert_eq!(problem(bad), Some("it has a control character"), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_shown_without_harm() {
        assert_eq!(spell(b"Icon\r"), "Icon\\r");
        assert_eq!(spell(b"\x1b[2J\xff"), "\\x1b[2J\\xff");
        assert_eq!(spell("f\u{fc}r".as_bytes()), "f\u{fc}r");
        assert_eq!(spell(&[b'a'; 300]), format!("{}…", "a".repeat(100)));
    }

    #[test]
    fn ordinary_names_pass() {
        for name in [".gitignore", ".gitmodules", "git", "a.git", "...", "git~2", "a b", "ü", "-x"]
        {
            assert!(problem(name.as_bytes()).is_none(), "{name}");
        }
        assert!(problem(b"\xff\xfe").is_none());
    }
}
