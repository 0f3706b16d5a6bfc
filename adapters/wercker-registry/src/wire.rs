//! The JSON of a registry, in the forms of both ages.

use kiln::Digest;
use serde::{Deserialize, Serialize};

/// Where a step is asked for.
pub(crate) const STEPS: &[&str] = &["api", "steps"];
/// Where it was asked for before.
pub(crate) const V2: &[&str] = &["api", "v2", "steps"];

/// `{"step": {…}}`, or from before that the step itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    step: Option<Step>,
    #[serde(flatten)]
    flat: Step,
}

#[derive(Debug, Default, Deserialize)]
struct Step {
    #[serde(default, rename = "tarballUrl")]
    tarball_url: Option<String>,
    #[serde(default)]
    version: Option<Version>,
    #[serde(default, alias = "sha256")]
    checksum: Option<String>,
}

/// `{"number": "1.2.3"}`, or from before that the number itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Version {
    Number { number: String },
    Text(String),
}

impl Answer {
    /// The version, the URL of the archive and its digest, as far as they are there.
    pub(crate) fn parts(self) -> (Option<String>, Option<String>, Option<Digest>) {
        let step = self.step.unwrap_or(self.flat);
        let version = step.version.map(|v| match v {
            Version::Number { number } | Version::Text(number) => number,
        });
        let sha256 = step.checksum.and_then(|text| {
            let text = if text.contains(':') { text } else { format!("sha256:{text}") };
            text.to_ascii_lowercase().parse().ok()
        });
        (version, step.tarball_url, sha256)
    }
}

/// What a registry is told of a step that is to be published.
#[derive(Debug, Serialize)]
pub(crate) struct Announce<'a> {
    /// The SHA-256 of the archive, in hexadecimal digits.
    pub(crate) checksum: &'a str,
    /// Its length in bytes.
    pub(crate) size: usize,
    /// The manifest, as it is in the archive.
    pub(crate) manifest: &'a str,
    /// Who publishes it.
    pub(crate) username: &'a str,
    /// Whether nobody else finds it.
    pub(crate) private: bool,
}

/// Where the archive is to be put.
#[derive(Debug, Deserialize)]
pub(crate) struct Announced {
    #[serde(rename = "uploadUrl")]
    pub(crate) upload_url: String,
    pub(crate) token: String,
}

/// What says that the archive is there.
#[derive(Debug, Serialize)]
pub(crate) struct Done<'a> {
    pub(crate) token: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> (Option<String>, Option<String>, Option<String>) {
        let answer: Answer = serde_json::from_str(json).unwrap();
        let (version, url, sha256) = answer.parts();
        (version, url, sha256.map(|d| d.to_string()))
    }

    #[test]
    fn answers_of_both_ages_are_read() {
        let some = |text: &str| Some(text.to_owned());
        let new = r#"{"step":{"summary":"s","tarballUrl":"u","version":{"number":"1.2.3"}}}"#;
        assert_eq!(of(new), (some("1.2.3"), some("u"), None));
        let old = r#"{"tarballUrl":"u","version":"0.1","description":"d"}"#;
        assert_eq!(of(old), (some("0.1"), some("u"), None));
        let digest = "ab".repeat(32);
        let with = format!(r#"{{"version":"1","checksum":"{}"}}"#, digest.to_uppercase());
        assert_eq!(of(&with).2, Some(format!("sha256:{digest}")));
        let named = format!(r#"{{"version":"1","sha256":"sha256:{digest}"}}"#);
        assert_eq!(of(&named).2, Some(format!("sha256:{digest}")));
        assert_eq!(of(r#"{"checksum":"md5"}"#), (None, None, None));
        assert!(serde_json::from_str::<Answer>("[]").is_err());
        assert!(serde_json::from_str::<Answer>(r#"{"version":3}"#).is_err());
    }
}
