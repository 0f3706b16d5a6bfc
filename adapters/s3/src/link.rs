//! Links by which an artifact is downloaded from the server itself, for a while.

use crate::artifacts::S3Artifacts;
use kiln::{Error, ErrorKind, Result, port::ArtifactKey};
use object_store::signer::{SignedUrlOptions, Signer};
use std::{fmt, time::Duration};

/// Servers sign for no longer than a week.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// An address that anybody who has it can download from until it is over: a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Link(String);

impl Link {
    /// The address. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(***)")
    }
}

impl S3Artifacts {
    /// A link to an artifact for some time, 1 second to 7 days.
    ///
    /// It leads to the bytes as they are now, also if the artifact is replaced meanwhile, and asks
    /// the server to have them saved under the artifact's own name, never shown: what a build made
    /// is no page of the server. `NotFound` if there is no such artifact. Nobody checks the digest
    /// of what comes.
    pub async fn presign(&self, key: &ArtifactKey, time: Duration) -> Result<Link> {
        const OP: &str = "S3Artifacts::presign";
        if time < Duration::from_secs(1) || time > TIME_MAX {
            return Err(Error::new(ErrorKind::Invalid, OP, "a link lasts 1 second to 7 days")
                .with("seconds", time.as_secs()));
        }
        let Some(record) = self.record(OP, key).await? else {
            return Err(Error::new(ErrorKind::NotFound, OP, "there is no such artifact")
                .with("artifact", key));
        };
        let content = self.client.keys.content(&key.build, &record.content);
        let options = SignedUrlOptions::default().with_query([
            ("response-content-disposition", disposition(key.name.as_str())),
            ("response-content-type", "application/octet-stream".into()),
        ]);
        // The method is left at its default, which is GET.
        let url = self.client.links.signed_url_opts(Default::default(), &content, time, &options);
        let url = url.await.map_err(|e| self.client.wrong(OP, &content, e))?;
        Ok(Link(url.into()))
    }
}

/// The last part of a name as RFC 6266 wants it, in the encoding of RFC 8187.
fn disposition(name: &str) -> String {
    use fmt::Write;
    let mut text = String::from("attachment; filename*=UTF-8''");
    for byte in name.rsplit('/').next().unwrap_or_default().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                text.push(byte.into());
            }
            // Writing to a string cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_saved_as_it_is_and_breaks_out_of_nothing() {
        let name = "dir/a \"b\"; x=\u{1F525}\r\n.tar";
        let said = "attachment; filename*=UTF-8''a%20%22b%22%3B%20x%3D%F0%9F%94%A5%0D%0A.tar";
        assert_eq!(disposition(name), said);
    }
}
