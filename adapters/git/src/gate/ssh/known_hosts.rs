//! Which keys a host is known by, read from files in the form of OpenSSH's `known_hosts`
//! (`SSH_KNOWN_HOSTS FILE FORMAT` in sshd(8)).
//!
//! Not libssh2's reading of them: that one takes `@revoked` for the name of a host and gives up a
//! file at its first strange line.

use crate::key::take;
use base64::{Engine, engine::general_purpose::STANDARD};

/// Kinds of host keys as they are known by, best first, and as they are asked for.
const KINDS: [(&str, &str); 5] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
];

/// What is known of one host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    keys: Vec<Vec<u8>>,
    revoked: Vec<Vec<u8>>,
    /// Whether an authority is known that could vouch for the host.
    pub(super) has_authority: bool,
}

/// What to think of a key that a host shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the host's.
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// The host is known by other keys.
    Changed,
    /// It was taken back.
    Revoked,
}

impl Known {
    /// Looks a host up. `is_hash_of` tells whether a hashed name is that of a plain one.
    pub(super) fn read(
        text: &str,
        host: &str,
        port: u16,
        is_hash_of: &dyn Fn(&str, &str) -> bool,
    ) -> Self {
        let with_port = format!("[{host}]:{port}");
        if port == 22 {
            return Self::of(text, host, &[host], is_hash_of);
        }
        // What is known of the port counts before what is known of the host.
        let names = [with_port.as_str(), host];
        let exact = Self::of(text, &with_port, &names, is_hash_of);
        let mut plain = Self::of(text, host, &names, is_hash_of);
        if !exact.keys.is_empty() {
            plain.keys = exact.keys;
        }
        plain.revoked.extend(exact.revoked);
        plain.has_authority |= exact.has_authority;
        plain
    }

    /// What the lines say that are about a name and exclude none of all names of the host.
    fn of(text: &str, name: &str, all: &[&str], is_hash_of: &dyn Fn(&str, &str) -> bool) -> Self {
        let mut known = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace().peekable();
            let marker = words.next_if(|w| w.starts_with('@'));
            let (Some(names), Some(kind), Some(key)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if names.starts_with('#') || !covers(names, name, all, is_hash_of) {
                continue;
            }
            let Some(key) = STANDARD.decode(key).ok().filter(|k| kind_of(k) == Some(kind)) else {
                continue;
            };
            match marker {
                None => known.keys.push(key),
                Some("@revoked") => known.revoked.push(key),
                Some("@cert-authority") => known.has_authority = true,
                Some(_) => {}
            }
        }
        known
    }

    pub(super) fn verdict(&self, key: &[u8]) -> Verdict {
        let is = |k: &Vec<u8>| k == key;
        if self.revoked.iter().any(is) {
            Verdict::Revoked
        } else if self.keys.iter().any(is) {
            Verdict::Known
        } else if self.keys.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Changed
        }
    }

    /// Which kinds of keys to ask the host for: those that it is known by before the others.
    pub(super) fn kinds(&self) -> String {
        let known = |kind: &str| self.keys.iter().any(|k| kind_of(k) == Some(kind));
        let (first, then): (Vec<_>, Vec<_>) = KINDS.iter().partition(|(kind, _)| known(kind));
        let asked: Vec<&str> = first.iter().chain(&then).map(|(_, asked)| *asked).collect();
        asked.join(",")
    }
}

/// The kind that a public key says it is of.
pub(super) fn kind_of(key: &[u8]) -> Option<&str> {
    take(&mut &key[..]).and_then(|kind| std::str::from_utf8(kind).ok())
}

/// Whether a list of names and patterns covers a name and excludes none of all names of the host.
fn covers(names: &str, name: &str, all: &[&str], is_hash_of: &dyn Fn(&str, &str) -> bool) -> bool {
    let is = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
    let excluded = |p: &str| p.strip_prefix('!').is_some_and(|p| all.iter().any(|n| is(p, n)));
    let covered = |p: &str| if p.starts_with('|') { is_hash_of(p, name) } else { is(p, name) };
    !names.split(',').any(excluded) && names.split(',').any(covered)
}

/// Whether a pattern with `*` and `?` is a name, whatever the case.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last star stood, and where what it stands for ends so far.
    let mut star = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || c.eq_ignore_ascii_case(&name[n]) => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, end)) = star else { return false };
                star = Some((at, end + 1));
                (p, n) = (at + 1, end + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, n: u8) -> Vec<u8> {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        [&length[..], kind.as_bytes(), &[n; 32]].concat()
    }

    fn line(names: &str, kind: &str, n: u8) -> String {
        format!("{names} {kind} {} comment here\n", STANDARD.encode(key(kind, n)))
    }

    fn read(text: &str, host: &str, port: u16) -> Known {
        Known::read(text, host, port, &|hash, name| hash == format!("|1|{name}"))
    }

    #[test]
    fn hosts_are_found_by_name_pattern_and_hash() {
        let ed = |names| line(names, "ssh-ed25519", 1);
        let cases = [
            ("h", "h", 22, true),
            ("H,other", "h", 22, true),
            ("[h]:22", "h", 22, false),
            ("h", "h", 2222, true),
            ("[h]:2222", "h", 22, false),
            ("[h]:2222", "h", 2222, true),
            ("*.example.org", "git.example.org", 22, true),
            ("*.example.org", "example.org", 22, false),
            ("*.example.org,!bad.example.org", "bad.example.org", 22, false),
            ("!bad.example.org,*", "bad.example.org", 22, false),
            ("!bad.example.org,*", "bad.example.org", 2222, false),
            ("*,![bad.example.org]:2222", "bad.example.org", 2222, false),
            ("!bad.example.org,*", "h", 2222, true),
            ("g?b*", "github.com", 22, false),
            ("g?th*.c?m", "github.com", 22, true),
            ("|1|h", "h", 22, true),
            ("|1|[h]:2222", "h", 2222, true),
            ("|1|x", "h", 22, false),
            ("[::1]:2222", "::1", 2222, true),
            ("#h", "h", 22, false),
        ];
        for (names, host, port, found) in cases {
            let verdict = read(&ed(names), host, port).verdict(&key("ssh-ed25519", 1));
            let expected = if found { Verdict::Known } else { Verdict::Unknown };
            assert_eq!(verdict, expected, "{names} {host}:{port}");
        }
    }

    #[test]
    fn a_key_that_was_taken_back_is_refused_though_it_is_known() {
        let text = line("h", "ssh-ed25519", 1)
            + &line("h", "ssh-ed25519", 2)
            + &line("@revoked *", "ssh-ed25519", 2)
            + &line("@cert-authority h", "ssh-ed25519", 3)
            + &line("@strange h", "ssh-ed25519", 4)
            + "h ssh-ed25519 not+base64\nh\nh ssh-rsa\n\n"
            + &format!("h ssh-rsa {}\n", STANDARD.encode(key("ssh-ed25519", 5)));
        let known = read(&text, "h", 22);
        let verdicts = [1, 2, 3, 4, 5].map(|n| known.verdict(&key("ssh-ed25519", n)));
        use Verdict::{Changed, Known, Revoked};
        assert_eq!(verdicts, [Known, Revoked, Changed, Changed, Changed]);
        assert!(known.has_authority);
        // Another port of the same host does not make a key good again.
        assert_eq!(read(&text, "h", 2222).verdict(&key("ssh-ed25519", 2)), Revoked);
    }

    #[test]
    fn kinds_that_are_known_are_asked_for_first() {
        let text = line("h", "ssh-rsa", 1) + &line("h", "ecdsa-sha2-nistp384", 1);
        let kinds = read(&text, "h", 22).kinds();
        assert!(
            kinds.starts_with("ecdsa-sha2-nistp384,rsa-sha2-512,rsa-sha2-256,ssh-ed"),
            "{kinds}"
        );
        assert!(Known::default().kinds().starts_with("ssh-ed25519,"));
    }
}
