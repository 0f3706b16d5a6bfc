//! The forms in which tools print a secret, made as the tools make them.

use super::{check, in_pieces, redactor};
use base64::{Engine, engine::general_purpose as kind};
use proptest::prelude::*;

/// How many forms there are.
pub(super) const COUNT: usize = 34;

/// A text in one of the forms.
pub(super) fn form(form: usize, bytes: &[u8]) -> Vec<u8> {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let inside = |text: String| text[1..text.len() - 1].to_owned();
    let wrapped = |text: String, width: usize, by: &str| {
        let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        lines.join(by)
    };
    let hex = |digits: fn(u8) -> String| bytes.iter().map(|c| digits(*c)).collect::<String>();
    match form {
        0 => return bytes.to_vec(),
        1 => text().replace('\n', "\r\n"),
        2 => json(&text()),
        3 => json(&inside(json(&text()))),
        4 => json(&text()).replace('/', r"\/"),
        5 => each(bytes, |c| if c < 0x80 { format!("\\u{c:04x}") } else { char(c) }),
        6 => json(&text()).replace('&', r"\u0026").replace('<', r"\u003c").replace('>', r"\u003E"),
        7 => format!("{:?}", text()),
        8 => hex(|c| format!("\\x{c:02x}")),
        9 => hex(|c| format!("\\{c:03o}")),
        10 => each(bytes, |c| if c == b'\n' { "$'\\n'".into() } else { backslash(c) }),
        11 => {
            format!("$'{}'", each(bytes, |c| if c == b'\n' { "\\n".into() } else { backslash(c) }))
        }
        12 => text().replace('\'', r"'\''"),
        13 => text().replace('\'', "''"),
        14 => text().replace('"', "\"\""),
        15 => percent(bytes, "-_.~", false, true),
        16 => percent(bytes, "-_.*", true, true),
        17 => percent(bytes, "-_.~!$&'()*+,;=:/?@", false, false),
        18 => percent(text().replace('\n', "\r\n").as_bytes(), "", true, false),
        19 => hex(|c| format!("%{c:02X}")),
        20 => each(bytes, |c| entity(c, "&quot;", "&#39;")),
        21 => each(bytes, |c| entity(c, "&#34;", "&#x27;")),
        22 => each(bytes, |c| if c < 0x80 { format!("&#{c};") } else { char(c) }),
        23 => kind::STANDARD.encode(bytes),
        24 => kind::URL_SAFE_NO_PAD.encode(bytes),
        25 => wrapped(kind::STANDARD.encode(bytes), 64, "\n"),
        26 => wrapped(kind::STANDARD.encode(bytes), 76, "\r\n"),
        27 => wrapped(kind::STANDARD.encode(bytes), 64, "\n        "),
        28 => hex(|c| format!("{c:02x}")),
        29 => wrapped(hex(|c| format!("{c:02X}")), 60, "\n"),
        30 => wrapped(kind::STANDARD.encode(bytes), 60, "\\n"),
        31 => wrapped(kind::URL_SAFE.encode(bytes), 64, r"\\r\\n"),
        32 => wrapped(kind::STANDARD.encode(bytes), 76, "%0D%0A"),
        _ => text().replace('\n', "\n    "),
    }
    .into_bytes()
}

fn each(bytes: &[u8], f: impl Fn(u8) -> String) -> String {
    // Characters of several bytes stay: their bytes are mapped to themselves, one by one.
    let out: Vec<u8> =
        bytes.iter().flat_map(|&c| if c < 0x80 { f(c).into_bytes() } else { vec![c] }).collect();
    String::from_utf8_lossy(&out).into_owned()
}

fn char(c: u8) -> String {
    char::from(c).to_string()
}

fn backslash(c: u8) -> String {
    if c.is_ascii_alphanumeric() || c == b'\n' { char(c) } else { format!("\\{}", char::from(c)) }
}

fn percent(bytes: &[u8], safe: &str, plus: bool, upper: bool) -> String {
    let byte = |c: &u8| match c {
        c if c.is_ascii_alphanumeric() || safe.as_bytes().contains(c) => char(*c),
        b' ' if plus => "+".into(),
        c if upper => format!("%{c:02X}"),
        c => format!("%{c:02x}"),
    };
    bytes.iter().map(byte).collect()
}

fn entity(c: u8, double: &str, single: &str) -> String {
    match c {
        b'&' => "&amp;".into(),
        b'<' => "&lt;".into(),
        b'>' => "&gt;".into(),
        b'"' => double.into(),
        b'\'' => single.into(),
        c => char(c),
    }
}

/// Redacts a secret in a form, inside of a longer text, and looks for what is left of it.
pub(super) fn check_gone(
    secret: &str,
    number: usize,
    before: &str,
    after: &str,
) -> Result<(), TestCaseError> {
    let redactor = redactor(&[secret]);
    // What comes before is a line of its own, so that it cannot change how the secret is read.
    let text = form(number, format!("{before}\n{secret}\n{after}").as_bytes());
    let without = form(number, format!("{before}\n\n{after}").as_bytes());
    let out = in_pieces(&redactor, &text, &[7, 1, 30]);
    let shown = String::from_utf8_lossy(&out).into_owned();
    prop_assert!(shown.contains("***"), "form {}: {:?}", number, shown);
    // Nothing of it is left but lines that are too short, and the first character in base64, which
    // is not only its own.
    let short: usize = secret.lines().map(|l| l.trim().len()).filter(|l| *l < 4).sum();
    let white = secret.bytes().filter(u8::is_ascii_whitespace).count();
    let joints = match number {
        23 | 24 => 8,
        25..=27 | 29..=32 => 20,
        _ => 0,
    };
    let few = joints + 12 * (short + white) + shown.matches("***").count() * 3;
    let visible = |bytes: &[u8]| bytes.iter().filter(|c| !c.is_ascii_whitespace()).count();
    prop_assert!(visible(&out) <= visible(&without) + few, "form {}: {:?}", number, shown);
    Ok(())
}

#[test]
fn secrets_are_masked_in_the_forms_that_tools_print() {
    check(&["p@ss w/rd"], "p%40ss%20w%2Frd p%40ss+w%2frd", "*** ***");
    check(&["say \"hi\"\\"], r#"{"a":"say \"hi\"\\"}"#, r#"{"a":"***"}"#);
    check(&["it's me"], r"'it'\''s me'", "'***'");
    check(&["it's me"], r#"'it'"'"'s me' it\'s\ me 'it''s me'"#, "'***' *** '***'");
    check(&["<ü&/"], r#""\u003cü\u0026/" "<\u00fc&/" "<ü&\/""#, r#""***" "***" "***""#);
    check(&["<ü&/"], "&lt;ü&amp;/ &#60;&#xFC;&#38;&#x2f; &LT;", "*** *** &LT;");
    check(&["a/b@c!"], "a/b%40c%21 a%2fb%40c! git://u:a%2Fb%40c!@h", "*** *** git://u:***@h");
    check(&["pass"], "%70%61%73%73 %70a%73s 70617373 p%61s", "*** *** 70617373 p%61s");
    // What looked like the beginning of a character, and was none, hides no other.
    check(&["\"bcd"], r#"\ud83d\"bcd &#&quot;bcd %%22bcd"#, r"\ud83d*** &#*** %***");
    check(&[r"C:\new"], r#"C:\new "C:\\new" "C:\\\\new" C:\x5cnew"#, r#"*** "***" "***" ***"#);
}

#[test]
fn a_secret_is_masked_in_base64_and_hexadecimal_digits() {
    // printf user:correct-horse | base64
    check(&["correct-horse"], "dXNlcjpjb3JyZWN0LWhvcnNl", "dXNlcjp***");
    check(&["correct-horse"], "Y29ycmVjdC1ob3JzZQ== Y29ycmVjdC1ob3JzZQ", "*** ***");
    check(&["correct-horse"], "dTpjb3JyZWN0LWhvcnNlQGhvc3Q=", "dTp***QGhvc3Q=");
    check(&["~~??>>"], "fn4/Pz4+ fn4_Pz4- eH5+Pz8+Pg==", "*** *** eH***");
    check(&["correct-horse"], "636f72726563742d686f727365 X636F72726563742D686F727365", "*** X***");
    check(
        &["correct-horse"],
        "correct-horse in 0x0636f72726563742d686f72736500",
        "*** in 0x0***00",
    );
}

/// What a key looks like.
fn key() -> String {
    let lines = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"; 3];
    format!("-----BEGIN PRIVATE KEY-----\n{}\n+x=\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[test]
fn a_key_is_masked_as_a_whole_and_line_by_line() {
    let key = key();
    let masked = |text: &str, expected: &str| check(&[&key], text, expected);
    masked(&format!("<{key}>"), "<***\n>");
    masked(&key.replace('\n', "\r\n"), "***\r\n");
    masked(&serde_json::to_string(&key).unwrap(), r#""***\n""#);
    masked(&key.replace('\n', "\\n"), "***\\n");
    masked(&key.replace('\n', "\\\\n"), "***\\\\n");
    masked(&key.replace('\n', "\\r\\n"), "***\\r\\n");
    masked(&format!("$'{}'", key.replace('\n', "\\n")), "$'***\\n'");
    masked(&percent(key.as_bytes(), "-", false, true), "***%0A");
    masked(&percent(key.replace('\n', "\r\n").as_bytes(), "-", true, false), "***%0d%0a");
    masked(key.lines().nth(2).unwrap(), "***");
    let indented = key.replace('\n', "\n    ");
    masked(
        &format!("key: |\n    {indented}"),
        "key: |\n    ***\n    ***\n    ***\n    ***\n    +x=\n    ***\n    ",
    );
    check(&[&key.replace('\n', "\r\n")], &format!("<{key}>"), "<***\n>");
    let account =
        format!(r#"{{"type":"x","private_key":{}}}"#, serde_json::to_string(&key).unwrap());
    check(&[&account], &key, "-----BEGIN PRIVATE KEY-----\n***\n***\n***\n+x=\n***\n");
}

#[test]
fn a_secret_is_masked_in_wrapped_base64() {
    let key = key();
    for (before, first) in [("", ""), ("u:", "dT"), ("a long user name:", "YSBsb25nIHVzZXIgbmFtZT")]
    {
        for alphabet in [kind::STANDARD, kind::URL_SAFE] {
            let text = alphabet.encode(format!("{before}{key}"));
            for (width, by) in
                [(64, "\n"), (64, "\r\n"), (76, "\n"), (76, "\r\n    "), (60, r"\r\n"), (64, "%0a")]
            {
                let lines: Vec<_> =
                    text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
                let redactor = redactor(&[&key]);
                for size in 1..140 {
                    let out = in_pieces(&redactor, lines.join(by).as_bytes(), &[size]);
                    let out = String::from_utf8_lossy(&out);
                    assert!(
                        out.starts_with(first) && out.contains("***"),
                        "{out} in pieces of {size} {width} {by:?}"
                    );
                    assert!(out.len() < first.len() + 10, "{out} in pieces of {size}");
                }
            }
        }
    }
    // Wherever the line breaks.
    let secret = "correct-horse";
    for before in 0..80 {
        let text = kind::STANDARD.encode(format!("{}{secret}", "x".repeat(before)));
        for width in [32, 64, 76] {
            let lines: Vec<_> =
                text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
            let text = lines.join("\n");
            let whole = redactor(&[secret]).redact_text(&text);
            assert!(whole.ends_with("***"), "{before} {width} {text} {whole}");
            for size in [1, 5, 33] {
                let out = in_pieces(&redactor(&[secret]), text.as_bytes(), &[size]);
                assert_eq!(String::from_utf8_lossy(&out), whole);
            }
        }
    }
}

#[test]
fn lines_that_are_not_full_do_not_go_on() {
    check(&["correct-horse"], "see Y29ycmVj\ndC1ob3JzZQ==", "see Y29ycmVj\ndC1ob3JzZQ==");
}
