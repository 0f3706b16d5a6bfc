//! Private keys for SSH, told apart before a server hears of them: what libssh2 says of a key that
//! it cannot read is the same whatever is wrong with it.

use base64::{Engine, engine::general_purpose::STANDARD};
use kiln::Secret;

/// A private key as text, and what opens it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: Secret,
    pub(crate) passphrase: Option<Secret>,
}

/// Why a text that is meant as a private key is of no use. It repeats nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("this is a public key")]
    Public,
    #[error("the key is in PuTTY's form")]
    Putty,
    #[error("the key is in the form of ssh.com")]
    Tectia,
    #[error("this is something else than a private SSH key")]
    Other,
    #[error("the key has a passphrase, which is not given")]
    Locked,
    #[error("the key is on a hardware token")]
    Hardware,
    #[error("keys of this kind are not supported")]
    Kind,
    #[error("the key is damaged or cut off")]
    Damaged,
}

impl KeyError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Public => "Store the private key: the file whose name does not end in `.pub`.",
            Self::Putty => "Convert it: `puttygen key.ppk -O private-openssh -o key`.",
            Self::Tectia => "Convert it: `ssh-keygen -i -f key`.",
            Self::Locked => {
                "Store `{\"key\": …, \"passphrase\": …}`, or a key without a passphrase; a key of \
                 your own can be added to the SSH agent."
            }
            Self::Hardware => "Only the machine that has the token can use it, by its SSH agent.",
            Self::Other | Self::Kind => "Make a key for this: `ssh-keygen -t ed25519 -N ''`.",
            Self::Damaged => "Store the whole file, with its first and its last line.",
        }
    }
}

impl Key {
    /// Reads a private key as OpenSSH and OpenSSL write them. None if the text is not meant as a
    /// key at all.
    pub(crate) fn read(text: &str, passphrase: Option<Secret>) -> Result<Option<Self>, KeyError> {
        let text = text.trim();
        if text.starts_with("PuTTY-User-Key-File-") {
            return Err(KeyError::Putty);
        }
        if text.starts_with("---- BEGIN SSH2 ") {
            let public = text.starts_with("---- BEGIN SSH2 PUBLIC");
            return Err(if public { KeyError::Public } else { KeyError::Tectia });
        }
        if is_public(text) {
            return Err(KeyError::Public);
        }
        let Some(rest) = text.strip_prefix("-----BEGIN ") else { return Ok(None) };
        let (label, rest) = rest.split_once("-----").ok_or(KeyError::Damaged)?;
        let end = format!("-----END {label}-----");
        let body = rest.strip_suffix(end.as_str()).ok_or(KeyError::Damaged)?;
        let locked = match label {
            "OPENSSH PRIVATE KEY" => openssh(body)?,
            "RSA PRIVATE KEY" | "EC PRIVATE KEY" => body.contains("Proc-Type: 4,ENCRYPTED"),
            "PRIVATE KEY" => false,
            "ENCRYPTED PRIVATE KEY" => true,
            "DSA PRIVATE KEY" => return Err(KeyError::Kind),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => return Err(KeyError::Public),
            _ => return Err(KeyError::Other),
        };
        let passphrase = passphrase.filter(|p| !p.expose().is_empty());
        if locked && passphrase.is_none() {
            return Err(KeyError::Locked);
        }
        // Some stores of secrets change the ends of lines, which OpenSSL does not forgive.
        let text = Secret::new(text.replace("\r\n", "\n") + "\n");
        Ok(Some(Self { text, passphrase }))
    }
}

/// A line of `authorized_keys` or of a `.pub` file.
fn is_public(text: &str) -> bool {
    let kinds = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let mut words = text.split_ascii_whitespace();
    let kind = words.next().is_some_and(|w| kinds.iter().any(|k| w.starts_with(k)));
    kind && words.next().is_some_and(|w| w.starts_with("AAAA"))
}

/// Whether a key in OpenSSH's own form has a passphrase. Its form: `PROTOCOL.key` of OpenSSH.
fn openssh(body: &str) -> Result<bool, KeyError> {
    let code: String = body.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(code).map_err(|_| KeyError::Damaged)?;
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0").ok_or(KeyError::Damaged)?;
    let mut field = || take(&mut rest).ok_or(KeyError::Damaged);
    let cipher = field()?;
    let (_derivation, _options) = (field()?, field()?);
    // The number of keys stands where the length of a field would: one.
    let count = rest.split_at_checked(4).ok_or(KeyError::Damaged)?;
    if count.0 != [0, 0, 0, 1] {
        return Err(KeyError::Kind);
    }
    rest = count.1;
    let mut public = take(&mut rest).ok_or(KeyError::Damaged)?;
    // The private part follows; a file that was cut off ends in it.
    take(&mut rest).ok_or(KeyError::Damaged)?;
    let kind = take(&mut public).ok_or(KeyError::Damaged)?;
    if kind.starts_with(b"sk-") {
        return Err(KeyError::Hardware);
    }
    let known = kind == b"ssh-rsa" || kind == b"ssh-ed25519" || kind.starts_with(b"ecdsa-sha2-");
    if known { Ok(cipher != b"none") } else { Err(KeyError::Kind) }
}

/// The next field of SSH's binary forms: a length of four bytes, then as many bytes (RFC 4251).
pub(crate) fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (field, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    }

    fn key(cipher: &[u8], kind: &[u8]) -> String {
        let mut bytes = b"openssh-key-v1\0".to_vec();
        for part in [cipher, b"bcrypt", b""] {
            bytes.extend(field(part));
        }
        bytes.extend([0, 0, 0, 1]);
        bytes.extend(field(&field(kind)));
        bytes.extend(field(b"the private part"));
        armor("OPENSSH PRIVATE KEY", &STANDARD.encode(bytes))
    }

    fn armor(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[track_caller]
    fn check(text: &str, expected: Result<bool, KeyError>) {
        assert_eq!(Key::read(text, None).map(|k| k.is_some()), expected, "{text}");
    }

    #[test]
    fn keys_are_told_apart() {
        check(&key(b"none", b"ssh-ed25519"), Ok(true));
        check(&key(b"none", b"ecdsa-sha2-nistp256"), Ok(true));
        check(&key(b"aes256-ctr", b"ssh-rsa"), Err(KeyError::Locked));
        check(&key(b"none", b"sk-ssh-ed25519@openssh.com"), Err(KeyError::Hardware));
        check(&key(b"none", b"ssh-dss"), Err(KeyError::Kind));
        check(&armor("RSA PRIVATE KEY", "AAAA"), Ok(true));
        check(&armor("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAAAA"), Err(KeyError::Locked));
        check(&armor("ENCRYPTED PRIVATE KEY", "AAAA"), Err(KeyError::Locked));
        check(&armor("PUBLIC KEY", "AAAA"), Err(KeyError::Public));
        check(&armor("CERTIFICATE", "AAAA"), Err(KeyError::Other));
        check("ssh-ed25519 AAAAC3 me@here", Err(KeyError::Public));
        check("PuTTY-User-Key-File-3: ssh-ed25519", Err(KeyError::Putty));
        check("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----", Err(KeyError::Tectia));
        for no_key in ["", "user:token", "ghp_abc", "ssh-is-my-password AAA"] {
            check(no_key, Ok(false));
        }
        let key = key(b"none", b"ssh-ed25519");
        let windows = Key::read(&key.replace('\n', "\r\n"), None).unwrap().unwrap();
        assert_eq!(windows.text.expose_str(), Some(key.as_str()));
    }

    #[test]
    fn a_key_cut_off_anywhere_is_damaged() {
        let whole = key(b"none", b"ssh-ed25519");
        for end in "-----BEGIN O".len()..whole.len() - 1 {
            assert_eq!(Key::read(&whole[..end], None).err(), Some(KeyError::Damaged), "{end}");
        }
        let body = whole.lines().nth(1).unwrap();
        for end in 0..body.len() - 4 {
            let cut = armor("OPENSSH PRIVATE KEY", &body[..end]);
            assert_eq!(Key::read(&cut, None).err(), Some(KeyError::Damaged), "{end}");
        }
    }
}
