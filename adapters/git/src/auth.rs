//! Who we are to a server.

use crate::{
    GitConfig,
    helper::{Helpers, Late},
    key::{Key, KeyError},
    netrc,
    url::GitUrl,
};
use kiln::{
    Error, ErrorKind, Result, Secret, SourceSpec, StepCx, StepSecrets, secret::Credentials,
};
use std::time::Duration;
use url::Url;

const FORMS: &str = "Store `user:token`, `{\"username\": …, \"password\": …}`, a token alone, a \
                     private SSH key, or `{\"key\": …, \"passphrase\": …}`.";

/// A private key and its passphrase as a secret.
#[derive(serde::Deserialize)]
struct StoredKey {
    key: String,
    passphrase: Option<String>,
}

/// What to show a server that asks.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    /// Nothing.
    None,
    /// A user and a password or token.
    Password(Credentials),
    /// A private key.
    Key(Key),
    /// Whatever the host has for that server.
    Host(StepSecrets),
}

impl Auth {
    /// The credentials that a spec names, or those of the host where that is allowed.
    pub(crate) async fn of(
        cx: &StepCx,
        spec: &SourceSpec,
        op: &'static str,
        host: bool,
    ) -> Result<Self> {
        let Some(name) = &spec.credentials else {
            return Ok(if host { Self::Host(cx.secrets.clone()) } else { Self::None });
        };
        let secret = cx.secrets.reveal(name).await?;
        let wrong = |message: String, hint: &str| {
            let error = Error::new(ErrorKind::Invalid, op, message).with("secret", name.as_str());
            Err(error.hint(hint))
        };
        let auth = match Self::read(&secret) {
            Ok(Some(auth)) => auth,
            Ok(None) => return wrong("the secret holds no credentials for git".into(), FORMS),
            Err(e) => return wrong(format!("the secret is of no use for git: {e}"), e.hint()),
        };
        match &auth {
            Self::Password(credentials) => {
                cx.secrets.conceal(&credentials.password);
                cx.secrets.conceal(&basic(credentials));
            }
            Self::Key(key) => {
                cx.secrets.conceal(&key.text);
                key.passphrase.iter().for_each(|p| cx.secrets.conceal(p));
            }
            Self::None | Self::Host(_) => {}
        }
        Ok(auth)
    }

    fn read(secret: &Secret) -> Result<Option<Self>, KeyError> {
        let Some(text) = secret.expose_str().map(str::trim) else { return Ok(None) };
        if let Ok(StoredKey { key, passphrase }) = serde_json::from_str(text) {
            let key = Key::read(&key, passphrase.map(Secret::new))?;
            return key.map(|key| Some(Self::Key(key))).ok_or(KeyError::Other);
        }
        if let Some(key) = Key::read(text, None)? {
            return Ok(Some(Self::Key(key)));
        }
        if let Some(credentials) = Credentials::parse(secret) {
            return Ok(Some(Self::Password(credentials)));
        }
        // Forges take a token with any user name, and this one all of them know.
        let lone = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        Ok(lone.then(|| {
            let password = Secret::new(text);
            Self::Password(Credentials { username: "x-access-token".into(), password })
        }))
    }

    /// What may be shown to another repository that this one leads to.
    #[must_use]
    pub(crate) fn for_other(&self, here: &GitUrl, there: &GitUrl) -> Self {
        match self {
            Self::Host(_) => self.clone(),
            _ if here.same_origin(there) => self.clone(),
            _ => Self::None,
        }
    }

    /// A user and a password for a URL, or nothing.
    pub(crate) async fn password(
        &self,
        op: &'static str,
        config: &GitConfig,
        url: &Url,
        user: Option<&str>,
    ) -> Result<Option<Credentials>> {
        let secrets = match self {
            Self::Password(credentials) => return Ok(Some(credentials.clone())),
            Self::None | Self::Key(_) => return Ok(None),
            Self::Host(secrets) => secrets,
        };
        let found = match from_netrc(config, url, user).await {
            Some(found) => Some(found),
            None => {
                let helpers = Helpers::read(&config.git_config, url);
                let limit = config.helper_timeout;
                helpers.ask(url, user, limit).await.map_err(|Late| late(op, limit))?
            }
        };
        if let Some(found) = &found {
            secrets.conceal(&found.password);
            secrets.conceal(&basic(found));
        }
        Ok(found)
    }
}

fn late(op: &'static str, limit: Duration) -> Error {
    let message = format!("a credential helper of git gave no answer within {limit:?}");
    Error::new(ErrorKind::Unavailable, op, message)
        .hint("Look at `git config --get-all credential.helper`; it may wait for somebody to type.")
}

async fn from_netrc(config: &GitConfig, url: &Url, user: Option<&str>) -> Option<Credentials> {
    let file = config.netrc.as_ref()?;
    let size = tokio::fs::metadata(file).await.ok()?.len();
    if size > netrc::SIZE_MAX {
        tracing::warn!(file = %file.display(), "it is too large and passed over");
        return None;
    }
    // Cleared from memory when it was read.
    let text = Secret::new(tokio::fs::read(file).await.ok()?);
    netrc::find(text.expose_str()?, url.host_str()?, user)
}

/// The credentials as HTTP sends them.
pub(crate) fn basic(credentials: &Credentials) -> Secret {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut pair = credentials.username.clone().into_bytes();
    pair.push(b':');
    pair.extend_from_slice(credentials.password.expose());
    Secret::new(STANDARD.encode(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_by_its_form() {
        let user = |text: &str| match Auth::read(&Secret::new(text)) {
            Ok(Some(Auth::Password(c))) => c.username,
            other => panic!("{other:?}"),
        };
        assert_eq!(user("bob:secret"), "bob");
        assert_eq!(user(r#"{"username":"eve","password":"x"}"#), "eve");
        assert_eq!(user("ghp_abc\n"), "x-access-token");
        let pem = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n";
        let json = serde_json::json!({ "key": pem, "passphrase": "open sesame" }).to_string();
        for text in [pem, &json] {
            let Ok(Some(Auth::Key(key))) = Auth::read(&Secret::new(text)) else { panic!("{text}") };
            assert_eq!(key.text.expose_str(), Some(pem));
            assert_eq!(key.passphrase.is_some(), text == json);
        }
        assert!(matches!(Auth::read(&Secret::new("two words")), Ok(None)));
        assert!(matches!(Auth::read(&Secret::new("")), Ok(None)));
        for bad in [r#"{"key":"no key"}"#, "ssh-rsa AAAA me", "PuTTY-User-Key-File-2: x"] {
            assert!(Auth::read(&Secret::new(bad)).is_err(), "{bad}");
        }
    }
}
