//! The version of the protocol, which both sides say with every message.

use kiln::{Error, ErrorKind, Result};
use reqwest::header::HeaderMap;

/// The header that says the version.
pub(crate) const HEADER: &str = "kiln-agent-version";
pub(crate) const OURS: &str = "1.1";
const MAJOR: u16 = 1;
const MINOR: u16 = 1;

/// `Unsupported` unless the answer is of a server that is one minor version away at most.
pub(crate) fn check(op: &'static str, headers: &HeaderMap) -> Result<()> {
    let fail = |message: String| Error::new(ErrorKind::Unsupported, op, message);
    let said = headers.get(HEADER).and_then(|v| v.to_str().ok());
    let version = said.and_then(|text| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let Some((major, minor)) = version else {
        return Err(fail("what answers is no kiln-server that takes agents".into())
            .hint("Check the address of the server."));
    };
    let (major, minor): (u16, u16) = (major, minor);
    if major == MAJOR && MINOR.abs_diff(minor) <= 1 {
        return Ok(());
    }
    let (what, next) = match (major, minor) < (MAJOR, MINOR) {
        true => ("old", "Update the server first, and then its agents."),
        false => ("new", "Update the agent to the version of the server."),
    };
    let message =
        format!("the server is too {what}: it speaks version {major}.{minor}, the agent {OURS}");
    Err(fail(message).hint(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn one_minor_version_apart_is_near_enough() {
        let said = |version: &'static str| {
            check(
                "test",
                &HeaderMap::from_iter([(
                    reqwest::header::HeaderName::from_static(HEADER),
                    HeaderValue::from_static(version),
                )]),
            )
        };
        for good in ["1.0", "1.1", "1.2"] {
            said(good).unwrap();
        }
        for (bad, word) in
            [("1.3", "too new"), ("0.9", "too old"), ("2.0", "too new"), ("x", "no kiln-server")]
        {
            let e = said(bad).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unsupported, "{bad}");
            assert!(e.message().contains(word), "{bad}: {e}");
        }
        assert!(check("test", &HeaderMap::new()).is_err());
        assert_eq!(OURS, format!("{MAJOR}.{MINOR}"));
    }
}
