use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A content digest, such as `sha256:` and 64 hexadecimal digits.
///
/// The source of the format is the OCI image specification, "Digests". `sha256`, `sha384` and
/// `sha512` are checked for length and lower case; other algorithms only for the grammar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    text: Box<str>,
    colon: usize,
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: {problem}")]
pub struct DigestError {
    text: String,
    problem: &'static str,
}

impl Digest {
    /// Parses `algorithm:encoded`.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let fail = |problem| Err(DigestError { text: text.chars().take(160).collect(), problem });
        let Some((algorithm, encoded)) = text.split_once(':') else {
            return fail("it has no `:` between algorithm and value");
        };
        let part = |p: &str| {
            !p.is_empty() && p.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        if !algorithm.split(['+', '.', '_', '-']).all(part) {
            return fail("the algorithm has a character that is not allowed, or an empty part");
        }
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'=' | b'_' | b'-');
        if encoded.is_empty() || !encoded.bytes().all(legal) {
            return fail("the value is empty or has a character that is not allowed");
        }
        let digits = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Ok(Self { text: text.into(), colon: algorithm.len() }),
        };
        if encoded.len() != digits {
            return fail("the value has the wrong length for its algorithm");
        }
        if !encoded.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return fail("the value has a character that is not a lower-case hexadecimal digit");
        }
        Ok(Self { text: text.into(), colon: algorithm.len() })
    }

    /// The SHA-256 digest of these 32 bytes of hash.
    pub fn sha256(hash: [u8; 32]) -> Self {
        let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        Self { text: format!("sha256:{hex}").into(), colon: 6 }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What comes before the colon.
    pub fn algorithm(&self) -> &str {
        &self.text[..self.colon]
    }

    /// What comes after the colon.
    pub fn encoded(&self) -> &str {
        &self.text[self.colon + 1..]
    }

    /// The first 12 characters of the value, for people.
    pub fn short(&self) -> &str {
        let encoded = self.encoded();
        &encoded[..encoded.len().min(12)]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_checked() {
        let hex = "a".repeat(64);
        let good = Digest::parse(&format!("sha256:{hex}")).unwrap();
        assert_eq!((good.algorithm(), good.encoded(), good.short()), ("sha256", &*hex, &hex[..12]));
        assert!(Digest::parse("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564").is_ok());
        for bad in
            ["", "sha256", "sha256:", ":aa", "sha256:aa", "SHA256:aa", "a..b:c", "md5:ü", "x:a b"]
        {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert!(Digest::parse(&format!("sha256:{}", "A".repeat(64))).is_err());
        assert!(Digest::parse(&format!("sha512:{hex}")).is_err());
    }
}
