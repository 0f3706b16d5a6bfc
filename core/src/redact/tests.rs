//! The redactor as a whole: its promises, and against a search without any cleverness.

mod forms;
mod naive;

use super::{automaton::steps, *};
use proptest::prelude::*;

fn redactor(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::new();
    secrets.iter().for_each(|s| assert!(redactor.add(&Secret::new(*s))));
    redactor
}

fn in_pieces(redactor: &Redactor, input: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut stream, mut out, mut rest) = (redactor.stream(), Vec::new(), input);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
        out.extend_from_slice(&stream.push(piece));
        rest = after;
    }
    out.extend(stream.finish());
    out
}

#[track_caller]
fn check(secrets: &[&str], input: &str, expected: &str) {
    let redactor = redactor(secrets);
    assert_eq!(redactor.redact_text(input), expected, "{input}");
    for size in (1..9).chain([13, 30, 61, 64, 65, 77]) {
        let out = in_pieces(&redactor, input.as_bytes(), &[size]);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{input} in pieces of {size}");
    }
}

#[test]
fn secrets_are_masked_wherever_they_are_cut() {
    check(&["hunter2"], "a hunter2 b hunter", "a *** b hunter");
    check(&["hunter2"], "hunter2hunter2", "******");
    check(&["abc", "abcdef"], "abcdeX abcdef", "***deX ***");
    check(&["abcd", "cdef"], "abcdef", "***");
    check(&["aaa"], "aaaaaaaaaa b aa", "*** b aa");
    check(&["one\ntwo four"], "one\ntwo four, two four", "***, ***");
    check(&["hunter2\n"], "hunter2\nhunter2\r\n", "***\n***\r\n");
    check(
        &["a***b", "***"],
        "a***b **** *** **",
        "*** **** *** **".replace("****", "***").as_str(),
    );
}

#[test]
fn a_secret_may_come_while_a_stream_runs() {
    let redactor = redactor(&["hunter2"]);
    let mut stream = redactor.stream();
    assert_eq!(&*stream.push(b"key"), b"key");
    assert_eq!(&*stream.push(b" hun"), b" ");
    assert!(redactor.clone().add(&Secret::new("hunger")));
    assert_eq!(&*stream.push(b"ger hunter2"), b"*** ***");
    // What was given out is gone; what is under way in base64 is not.
    assert_eq!(&*stream.push(b" dXNlcjpodW"), b" dXNlcjp");
    assert!(redactor.add(&Secret::new("a later one")));
    assert_eq!(&*stream.push(b"50ZXIy="), b"***");
    assert_eq!(stream.finish(), b"");
}

#[test]
fn blank_and_short_secrets_are_refused() {
    for secret in ["", "ab", "ab\n", "\n\n\n\n", " \t  "] {
        assert!(!Redactor::new().add(&Secret::new(secret)), "{secret:?}");
    }
    check(&["abc"], "ab abc", "ab ***");
}

#[test]
fn what_cannot_be_a_secret_is_given_out_at_once() {
    let redactor = redactor(&["hunter2"]);
    let mut stream = redactor.stream();
    for (piece, given) in [
        (&b"password: "[..], &b"password: "[..]),
        (b"hunt", b""),
        (b"ing", b"hunting"),
        (b" 100%", b" 100"),
        (b"\r", b"%\r"),
        (b"Continue? [y/N] ", b"Continue? [y/N] "),
        (b"a && b", b"a && b"),
        (b" 0123456789abcdef0123456789abcdef01\n", b" 0123456789abcdef0123456789abcdef01\n"),
        (b"> ", b"> "),
    ] {
        assert_eq!(stream.push(piece), given, "{}", String::from_utf8_lossy(piece));
    }
    assert!(format!("{redactor:?} {stream:?}").find("hunter2").is_none());
}

#[test]
fn bytes_that_are_no_text_are_redacted() {
    let redactor = Redactor::new();
    assert!(redactor.add(&Secret::new([0xFF, 0, 0xFE, 10, 0x80])));
    let input = b"\xC3\xFF\x00\xFE\n\x80\xC3 %FF%00%fe%0A%80 \\xff\\x00\\xfe\\n\\x80 ff00FE0a80";
    assert_eq!(in_pieces(&redactor, input, &[1]), b"\xC3***\xC3 *** *** ***");
    assert_eq!(in_pieces(&redactor, input, &[99]), b"\xC3***\xC3 *** *** ***");
}

#[test]
fn a_piece_without_secrets_is_not_copied() {
    let redactor = redactor(&["hunter2"]);
    let text = "what a day\n".repeat(10_000);
    assert!(matches!(redactor.stream().push(text.as_bytes()), std::borrow::Cow::Borrowed(_)));
}

/// How much work a byte is, of a text against a secret.
fn work(secret: &str, text: &str, piece: usize) -> f64 {
    let redactor = redactor(&[secret, &format!("{secret}b"), &format!("b{secret}")]);
    redactor.redact_text("the patterns are made");
    steps::take();
    in_pieces(&redactor, text.as_bytes(), &[piece]);
    steps::take() as f64 / text.len() as f64
}

#[test]
fn a_byte_costs_the_same_whatever_the_secret() {
    const LONG: usize = 64 << 10;
    let repeat = |unit: &str, length: usize| unit.repeat(length / unit.len());
    for (unit, hostile) in [
        ("a", "a"),
        ("ab", "ab"),
        ("aaaaaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaa"),
        (r"\a", r"\a"),
        (r"\aaaaaaaaaaaaaaaaaaaa", r"\aaaaaaaaaaaaaaaaaaaa"),
        ("%61", "%61"),
        ("a", "%61a"),
        ("a", r"\x61&#97;"),
        ("a", "YWFh"),
        ("a", "61"),
        ("line of a secret\n", "line of a secret\\n"),
        ("%%%&&&\\\\\\", "%%%&&&\\\\\\"),
    ] {
        for piece in [1, 100, 1 << 20] {
            let text = repeat(hostile, 3 * LONG);
            let (small, large) = (
                work(&repeat(unit, LONG / 64), &text, piece),
                work(&repeat(unit, LONG), &text, piece),
            );
            assert!(large < 1.5 * small + 4.0, "{unit:?}: {small:.1} and {large:.1} in {piece}");
            assert!(large < 40.0, "{unit:?}: {large:.1} steps a byte in {piece}");
        }
    }
}

#[test]
fn little_is_kept_of_what_was_given_out() {
    let redactor = redactor(&["hunter2"]);
    let mut stream = redactor.stream();
    for _ in 0..1000 {
        stream.push(b"nothing of interest, and hunter2 in every line of it\n");
        assert!(stream.kept() < 1024);
    }
    stream.push(&[b'x'; 1 << 20]);
    assert!(stream.kept() < 1024);
}

fn check_naive(secrets: &[Vec<u8>], input: &[u8], sizes: &[usize]) -> Result<(), TestCaseError> {
    let redactor = Redactor::new();
    let patterns: Vec<_> = secrets.iter().flat_map(|s| plain::patterns(s)).collect();
    for secret in secrets {
        redactor.add(&Secret::new(secret.clone()));
    }
    let expected = naive::redact(&patterns, input);
    let expected = String::from_utf8_lossy(&expected);
    for sizes in [sizes, &[usize::MAX], &[1]] {
        let out = in_pieces(&redactor, input, sizes);
        prop_assert_eq!(&*String::from_utf8_lossy(&out), &*expected, "in pieces of {:?}", sizes);
    }
    Ok(())
}

/// A text that holds parts of secrets in many forms, joined by what may come between.
fn texts(secrets: Vec<String>) -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    let piece = (0..secrets.len(), 0..forms::COUNT, 0..4_usize, 0..40_usize, 0..6_usize);
    let pieces = proptest::collection::vec(piece, 0..6);
    pieces.prop_map(move |pieces| {
        let mut text = Vec::new();
        for (secret, form, cut, extra, joint) in pieces {
            let inner = format!(
                "{}{}",
                &"user:0123456789abcdefghijklmnopqrstuvwxyz"[..extra],
                secrets[secret]
            );
            let coded = forms::form(form, inner.as_bytes());
            let end = if cut == 0 { coded.len() / 2 } else { coded.len() };
            text.extend_from_slice(&coded[..end]);
            text.extend_from_slice([&b""[..], b" ", b"\n", b"\r\n  ", b"=\\", b"%&"][joint]);
        }
        (secrets.clone(), text)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_pieces_never_show(
        secrets in proptest::collection::vec("[ab]{3,7}|[a\n%+/ ]{3,9}|[ab\\\\\"']{3,20}", 1..5),
        input in "[ab\n%+/ ]{0,60}|[ab\\\\nx61%&;#'\"]{0,80}|[YWFhZmJi\n]{0,99}",
        sizes in proptest::collection::vec(1usize..9, 1..8),
    ) {
        let secrets: Vec<_> = secrets.into_iter().map(String::into_bytes).collect();
        check_naive(&secrets, input.as_bytes(), &sizes)?;
    }

    #[test]
    fn every_form_is_found_as_by_the_slow_search(
        (secrets, input) in proptest::collection::vec(
            "[ab]{3,7}|[ -~]{3,30}|[ab\"'\\\\\n]{5,90}|\\PC{3,9}|[A-Z\n]{60,90}", 1..4
        ).prop_flat_map(texts),
        sizes in proptest::collection::vec(1usize..80, 1..8),
    ) {
        let secrets: Vec<_> = secrets.into_iter().map(String::into_bytes).collect();
        check_naive(&secrets, &input, &sizes)?;
    }

    #[test]
    fn no_form_survives(
        secret in "[!-~]{6,40}|[!-~]{1,20}[ -~\n]{20,60}[!-~]{3}|[\u{e0}-\u{ff}😀a]{5,9}",
        before in "[ -~]{0,70}", after in "[ -~]{0,9}", form in 0..forms::COUNT,
    ) {
        forms::check_gone(&secret, form, &before, &after)?;
    }
}
