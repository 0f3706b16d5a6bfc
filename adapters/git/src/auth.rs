//! Who we are to a server.

use crate::url::GitUrl;
use kiln::{
    Error, ErrorKind, Result, Secret, SourceSpec, StepCx, StepSecrets, secret::Credentials,
};

/// What to show a server that asks.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    /// Nothing.
    None,
    /// A user and a password or token.
    Password(Credentials),
    /// A private key as text.
    Key(Secret),
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
        let auth = Self::read(&secret).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, op, "the secret holds no credentials for git")
                .with("secret", name.as_str())
                .hint(
                    "Store `user:token`, `{\"username\": …, \"password\": …}`, a token alone, or a \
                     private SSH key without a passphrase.",
                )
        })?;
        if let Self::Password(credentials) = &auth {
            cx.secrets.conceal(&credentials.password);
            cx.secrets.conceal(&basic(credentials));
        }
        Ok(auth)
    }

    fn read(secret: &Secret) -> Option<Self> {
        let text = secret.expose_str()?.trim();
        if text.starts_with("-----BEGIN ") {
            let mut key = text.replace("\r\n", "\n");
            key.push('\n');
            return Some(Self::Key(Secret::new(key)));
        }
        if let Some(credentials) = Credentials::parse(secret) {
            return Some(Self::Password(credentials));
        }
        // Forges take a token with any user name, and this one all of them know.
        let lone = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        lone.then(|| {
            let password = Secret::new(text);
            Self::Password(Credentials { username: "x-access-token".into(), password })
        })
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

    /// A user and a password for a URL, or nothing. May run the host's credential helpers, so not
    /// on a thread that others wait for.
    pub(crate) fn password(&self, url: &str) -> Option<Credentials> {
        match self {
            Self::Password(credentials) => Some(credentials.clone()),
            Self::None | Self::Key(_) => None,
            Self::Host(secrets) => {
                let config = git2::Config::open_default().ok()?;
                let (username, password) =
                    git2::CredentialHelper::new(url).config(&config).execute()?;
                let found = Credentials { username, password: Secret::new(password) };
                secrets.conceal(&found.password);
                secrets.conceal(&basic(&found));
                Some(found)
            }
        }
    }
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
            Some(Auth::Password(c)) => c.username,
            other => panic!("{other:?}"),
        };
        assert_eq!(user("bob:secret"), "bob");
        assert_eq!(user(r#"{"username":"eve","password":"x"}"#), "eve");
        assert_eq!(user("ghp_abc\n"), "x-access-token");
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\r\nabc\r\n-----END OPENSSH PRIVATE KEY-----";
        let Some(Auth::Key(key)) = Auth::read(&Secret::new(key)) else { panic!("no key") };
        assert!(key.expose_str().unwrap().ends_with("KEY-----\n"));
        for bad in ["", "two words", "{}"] {
            assert!(!matches!(Auth::read(&Secret::new(bad)), Some(Auth::Key(_))), "{bad}");
        }
        assert!(Auth::read(&Secret::new("two words")).is_none());
    }
}
