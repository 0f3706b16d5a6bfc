//! Which sources are archives.

use reqwest::Url;

/// What begins the name of an upload.
pub(crate) const UPLOAD: &str = "upload:";
/// What begins a URL that is taken for one of an archive, however it ends.
const ANY: &str = "archive+";
/// How the path of the URL of an archive ends.
const ENDS: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"];

/// The URL of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveUrl(Url);

impl ArchiveUrl {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// Without the query, which may hold a signature.
    pub(crate) fn shown(&self) -> String {
        shown(&self.0)
    }
}

/// A URL as errors show it.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// Whether a source is an archive, judged by its form alone.
pub(crate) fn is_archive(text: &str) -> bool {
    if text.starts_with(UPLOAD) {
        return true;
    }
    let (text, any) = text.strip_prefix(ANY).map_or((text, false), |text| (text, true));
    let Ok(url) = Url::parse(text) else { return false };
    let path = url.path().to_ascii_lowercase();
    let named = any || ENDS.iter().any(|end| path.ends_with(end));
    matches!(url.scheme(), "https" | "http") && named
}

/// Reads the URL of an archive.
pub(crate) fn parse(text: &str) -> Result<ArchiveUrl, &'static str> {
    let url = Url::parse(text.strip_prefix(ANY).unwrap_or(text));
    let mut url = url.map_err(|_| "it is no URL")?;
    if !is_archive(text) {
        return Err("it ends in none of .tar, .tar.gz, .tgz, .tar.zst and .tzst");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold a login");
    }
    url.set_fragment(None);
    Ok(ArchiveUrl(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_names() {
        for good in [
            "upload:upload-0-1-2",
            "https://x.test/a/v1.tar.gz",
            "http://x.test/A.TGZ?token=1",
            "https://x.test/a.tar",
            "https://x.test/a.tar.zst#x",
            "archive+https://x.test/steps/a/1/tarball?x=1",
        ] {
            assert!(is_archive(good), "{good}");
        }
        for bad in [
            "https://x.test/a.git",
            "https://x.test/a.zip",
            "https://x.test/?a.tar",
            "ftp://x.test/a.tar",
            "git@x.test:a.tar",
            "archive+ftp://x.test/a.tar",
            "archive+/a.tar",
            "/a.tar",
            "a.tar",
        ] {
            assert!(!is_archive(bad), "{bad}");
        }
    }

    #[test]
    fn a_login_is_refused_and_a_signature_not_shown() {
        assert!(parse("https://bob:pw@x.test/a.tar").is_err());
        let url = parse("https://x.test/a.tar?sig=s3cret#f").unwrap();
        assert_eq!(url.shown(), "https://x.test/a.tar");
        assert_eq!(url.url().query(), Some("sig=s3cret"));
        let url = parse("archive+https://x.test/get?sig=s3cret").unwrap();
        assert_eq!((url.shown().as_str(), url.url().scheme()), ("https://x.test/get", "https"));
        assert!(parse("archive+https://bob:pw@x.test/get").is_err());
    }
}
