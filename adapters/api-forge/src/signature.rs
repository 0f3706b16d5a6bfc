//! Whether a request is from who it says, told by the bytes of its body.
//!
//! Sources: GitHub's page on validating deliveries (`X-Hub-Signature-256`), Gitea's on webhooks
//! (`X-Gitea-Signature`, and GitHub's header too), GitLab's on webhooks (`X-Gitlab-Token`), and
//! the Standard Webhooks specification, which GitLab's signing tokens follow.

use crate::config::Forge;
use axum::http::HeaderMap;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use kiln::{Secret, Timestamp};
use sha2::{Digest, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How far the time of a signature may be from ours.
const WINDOW: Duration = Duration::from_secs(300);
/// What the secrets begin with that are made to sign with.
const SIGNING: &str = "whsec_";

/// The request is not known to be genuine. What exactly was wrong is told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// The one value of a header; none if it is not there. Twice is forged: two readers could take
/// two different ones.
pub(crate) fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Forged> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Forged),
        (Some(_), Some(_)) => Err(Forged),
    }
}

/// Checks a request against the secret of its hook.
pub(crate) fn verify(
    forge: Forge,
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Forged> {
    let secret = secret.expose().trim_ascii_end();
    if secret.is_empty() {
        return Err(Forged);
    }
    match forge {
        Forge::GitHub => hex_of_body(one(headers, "x-hub-signature-256")?, "sha256=", secret, body),
        Forge::Gitea => {
            let own = one(headers, "x-gitea-signature")?;
            let like_github = one(headers, "x-hub-signature-256")?;
            // Whichever is there has to be right.
            if own.is_some() {
                hex_of_body(own, "", secret, body)?;
            }
            match like_github {
                None if own.is_some() => Ok(()),
                theirs => hex_of_body(theirs, "sha256=", secret, body),
            }
        }
        Forge::GitLab => {
            match std::str::from_utf8(secret).ok().and_then(|s| s.strip_prefix(SIGNING)) {
                // A secret that can sign is never accepted in the open.
                Some(key) => standard(key, headers, body, now),
                None => token(one(headers, "x-gitlab-token")?, secret),
            }
        }
    }
}

fn mac(key: &[u8]) -> Result<Hmac<Sha256>, Forged> {
    Hmac::<Sha256>::new_from_slice(key).map_err(|_| Forged)
}

fn hex_of_body(header: Option<&str>, prefix: &str, key: &[u8], body: &[u8]) -> Result<(), Forged> {
    let digits = header.and_then(|h| h.strip_prefix(prefix)).ok_or(Forged)?;
    let given = unhex(digits).ok_or(Forged)?;
    mac(key)?.chain_update(body).verify_slice(&given).map_err(|_| Forged)
}

/// 64 hexadecimal digits as bytes.
fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

/// A token in the open. Hashes are compared, so that the time tells not even its length.
fn token(given: Option<&str>, secret: &[u8]) -> Result<(), Forged> {
    let given = Sha256::digest(given.ok_or(Forged)?);
    let equal: bool = given.ct_eq(&Sha256::digest(secret)).into();
    if equal { Ok(()) } else { Err(Forged) }
}

fn standard(key: &str, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Forged> {
    let key = BASE64_STANDARD.decode(key).map_err(|_| Forged)?;
    let id = one(headers, "webhook-id")?.ok_or(Forged)?;
    let time = one(headers, "webhook-timestamp")?.ok_or(Forged)?;
    let signatures = one(headers, "webhook-signature")?.ok_or(Forged)?;
    let at = time.parse::<u64>().ok().and_then(|s| s.checked_mul(1000)).ok_or(Forged)?;
    let away = now.since(Timestamp(at)).max(Timestamp(at).since(now));
    // With a dot in the id another body could have the same bytes signed.
    if key.is_empty() || away > WINDOW || id.contains('.') {
        return Err(Forged);
    }
    let signed = mac(&key)?.chain_update(format!("{id}.{time}.")).chain_update(body);
    let fits = |signature: &str| {
        let given = signature.strip_prefix("v1,").and_then(|s| BASE64_STANDARD.decode(s).ok());
        given.is_some_and(|given| signed.clone().verify_slice(&given).is_ok())
    };
    // While a key is changed there are two, with a space between.
    if signatures.split(' ').take(8).any(fits) { Ok(()) } else { Err(Forged) }
}
