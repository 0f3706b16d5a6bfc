//! `config.json`, as far as it is about logins.

use super::{OP, as_docker, by_token};
use base64::{Engine, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use kiln::{Error, ErrorKind, Result, Secret, secret::Credentials};
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, path::Path};

/// What the file says of logins.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigFile {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) auths: BTreeMap<String, Auth>,
    #[serde(default, deserialize_with = "filled")]
    pub(super) creds_store: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) cred_helpers: BTreeMap<String, String>,
}

/// One login. All of it may be empty: then a helper has it.
#[derive(Deserialize)]
#[serde(from = "Option<Fields>")]
pub(super) struct Auth(Fields);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl From<Option<Fields>> for Auth {
    fn from(fields: Option<Fields>) -> Self {
        Self(fields.unwrap_or_default())
    }
}

/// Docker writes `null` where it has nothing.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn filled<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

impl ConfigFile {
    /// Reads the file of a directory; an empty one if there is none.
    pub(super) async fn read(dir: Option<&Path>) -> Result<Self> {
        let Some(path) = dir.map(|d| d.join("config.json")) else {
            return Ok(Self::default());
        };
        let text = match tokio::fs::read(&path).await {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                return Err(Error::new(
                    ErrorKind::Denied,
                    OP,
                    "Docker's configuration cannot be read",
                )
                .with("path", path.display())
                .source(e.to_string()));
            }
        };
        serde_json::from_slice(&text).map_err(|e| {
            // The text of the error could quote a login; its place is enough.
            Error::new(ErrorKind::Invalid, OP, "Docker's configuration is not valid")
                .with("path", path.display())
                .with("line", e.line())
                .with("column", e.column())
                .hint("Mend the file, or move it away and run `docker login` again.")
        })
    }
}

impl Auth {
    /// Whether no login is in the file itself.
    pub(super) fn is_empty(&self) -> bool {
        let Fields { auth, username, password, identitytoken, registrytoken } = &self.0;
        [auth, password, identitytoken, registrytoken].iter().all(|t| t.is_empty())
            && username.is_empty()
    }

    /// The login that is in the file.
    pub(super) fn login(&self, server: &str) -> Result<DockerCredentials> {
        if !self.0.identitytoken.is_empty() {
            return Ok(by_token(&self.0.identitytoken, server));
        }
        if !self.0.registrytoken.is_empty() {
            return Ok(DockerCredentials {
                registrytoken: Some(self.0.registrytoken.clone()),
                serveraddress: Some(server.into()),
                ..DockerCredentials::default()
            });
        }
        if self.0.auth.is_empty() {
            let password = Secret::new(self.0.password.as_bytes());
            return as_docker(&Credentials { username: self.0.username.clone(), password }, server);
        }
        let login = decode(&self.0.auth).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, OP, "a login in Docker's configuration is broken")
                .with("registry", server)
                .hint("Run `docker login` again.")
        })?;
        as_docker(&login, server)
    }
}

/// Reads base64 of `user:password`. The password is taken as it is, whatever it looks like.
fn decode(auth: &str) -> Option<Credentials> {
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let colon = bytes.iter().position(|b| *b == b':')?;
    let username = std::str::from_utf8(&bytes[..colon]).ok().filter(|u| !u.is_empty())?;
    // Old versions of Docker padded what they encoded.
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let password = Secret::new(bytes.get(colon + 1..end).unwrap_or_default());
    Some(Credentials { username: username.into(), password })
}
