//! `~/.netrc`: passwords by host, in the form that curl reads.

use kiln::{Secret, secret::Credentials};
use std::{iter::Peekable, str::Chars};

/// How large such a file may be, in bytes.
pub(crate) const SIZE_MAX: u64 = 1 << 20;

/// The first entry for a host, and for a user if one is given, that has a user and a password.
pub(crate) fn find(text: &str, host: &str, user: Option<&str>) -> Option<Credentials> {
    let mut chars = text.chars().peekable();
    // Whether the entry that is being read is about the host; none before the first.
    let mut here = false;
    let mut entry = Entry::default();
    while let Some(word) = word(&mut chars) {
        match word.as_str() {
            "machine" | "default" => {
                if let Some(found) = entry.complete(here, user) {
                    return Some(found);
                }
                here = word == "default"
                    || self::word(&mut chars).is_some_and(|name| name.eq_ignore_ascii_case(host));
            }
            "login" => entry.login = self::word(&mut chars),
            "password" => entry.password = self::word(&mut chars),
            "account" => drop(self::word(&mut chars)),
            "macdef" => skip_macro(&mut chars),
            // What is not known says nothing about what follows.
            _ => {}
        }
    }
    entry.complete(here, user)
}

#[derive(Default)]
struct Entry {
    login: Option<String>,
    password: Option<String>,
}

impl Entry {
    fn complete(&mut self, here: bool, user: Option<&str>) -> Option<Credentials> {
        let Self { login, password } = std::mem::take(self);
        let username = login.or_else(|| user.map(ToOwned::to_owned))?;
        let right = here && user.is_none_or(|user| user == username);
        let password = Secret::new(password?);
        right.then_some(Credentials { username, password })
    }
}

/// The next word; in quotes it may hold spaces.
fn word(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next_if_eq(&'#').is_none() {
            break;
        }
        while chars.next_if(|c| *c != '\n').is_some() {}
    }
    let mut word = String::new();
    if chars.next_if_eq(&'"').is_some() {
        loop {
            match chars.next() {
                None | Some('"') => return Some(word),
                Some('\\') => word.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                }),
                Some(other) => word.push(other),
            }
        }
    }
    while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
        word.push(c);
    }
    (!word.is_empty()).then_some(word)
}

/// A macro ends with an empty line.
fn skip_macro(chars: &mut Peekable<Chars<'_>>) {
    let mut before = ' ';
    for c in chars.by_ref() {
        if c == '\n' && before == '\n' {
            return;
        }
        if c != '\r' {
            before = c;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, user: Option<&str>, expected: Option<(&str, &str)>) {
        let found = find(text, host, user);
        let found = found.as_ref().map(|c| (c.username.as_str(), c.password.expose_str().unwrap()));
        assert_eq!(found, expected, "{host} {user:?} in {text}");
    }

    #[test]
    fn entries_are_found_by_host_and_user() {
        let text = "# machine h login no password no\nmachine other login o password p\n\
                    machine H\n  login a password 1#2\nmachine h login b password \"x \\\"y\" \
                    account z\nmacdef init\nmachine h login evil password evil\n\n\
                    machine late login l password m\ndefault login anonymous password guest";
        check(text, "h", None, Some(("a", "1#2")));
        check(text, "h", Some("b"), Some(("b", "x \"y")));
        check(text, "late", None, Some(("l", "m")));
        check(text, "nowhere", None, Some(("anonymous", "guest")));
        check(text, "h", Some("evil"), None);
        check("machine h password p", "h", Some("u"), Some(("u", "p")));
        check("machine h password p", "h", None, None);
        check("machine h login l", "h", None, None);
        for broken in ["machine", "machine h login", "machine h password \"open", "macdef x", ""] {
            check(broken, "h", None, None);
        }
    }
}
