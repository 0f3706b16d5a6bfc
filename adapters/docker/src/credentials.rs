//! The registry logins that Docker's own command line keeps: `config.json` and credential helpers.
//!
//! Source of the format: `github.com/docker/cli`, `docker login` and "Credential helper protocol".

mod file;
mod helper;

use bollard::auth::DockerCredentials;
use file::ConfigFile;
use helper::Helper;
use kiln::{Error, ErrorKind, Result, Secret, secret::Credentials};
use std::path::PathBuf;

const OP: &str = "Docker::credentials";
/// The names that logins to Docker Hub are kept under, as different clients write them; the one
/// that Docker's own command line asks helpers for is first.
const HUB_KEYS: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];

/// Docker's own logins.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    config_dir: Option<PathBuf>,
    /// Where helpers are; in the directories of `PATH` without it.
    helpers_dir: Option<PathBuf>,
}

/// A registry that Docker is logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLogin {
    /// The registry.
    pub registry: String,
    /// Where the login is kept: `config.json`, or the name of a helper.
    pub kept_in: String,
}

impl CredentialStore {
    /// The logins in a configuration directory; none without one.
    pub fn new(config_dir: Option<PathBuf>) -> Self {
        Self { config_dir, helpers_dir: None }
    }

    fn helper(&self, name: &str) -> Result<Helper> {
        Helper::new(name, self.helpers_dir.as_deref())
    }

    /// The logins there are, without asking for their secrets.
    ///
    /// # Errors
    ///
    /// `Denied` if the file cannot be read, and `Invalid` if it is not valid; its text is left out.
    pub async fn known(&self) -> Result<Vec<KnownLogin>> {
        let config = ConfigFile::read(self.config_dir.as_deref()).await?;
        let plain = config.auths.iter().map(|(key, auth)| {
            let store = config.creds_store.clone().filter(|_| auth.is_empty());
            KnownLogin {
                registry: host_of(key).into(),
                kept_in: store.unwrap_or("config.json".into()),
            }
        });
        let helped = config.cred_helpers.iter().map(|(key, helper)| KnownLogin {
            registry: host_of(key).into(),
            kept_in: helper.clone(),
        });
        Ok(plain.chain(helped).collect())
    }

    /// The login for a registry, if there is one. Only an equal host is one: never a part of it.
    ///
    /// As in Docker, a helper of this registry comes first, then the helper of all registries,
    /// then the file itself.
    ///
    /// # Errors
    ///
    /// A login that is there and cannot be used is an error, and never none: what was to be done
    /// with it would be done by nobody in particular.
    pub(crate) async fn login(&self, registry: &str) -> Result<Option<DockerCredentials>> {
        let config = ConfigFile::read(self.config_dir.as_deref()).await?;
        let keys = keys_of(registry, config.auths.keys());
        let own = keys_of(registry, config.cred_helpers.keys());
        let own = own.iter().find_map(|key| config.cred_helpers.get(key));
        if let Some(name) = own {
            return self.helper(name)?.first(&keys).await;
        }
        let kept = keys.iter().find_map(|key| config.auths.get(key).filter(|a| !a.is_empty()));
        let kept = kept.map(|auth| auth.login(registry)).transpose()?;
        let helper = config.creds_store.as_deref();
        match (helper, kept) {
            (None, kept) => Ok(kept),
            (Some(name), kept) => match self.helper(name)?.first(&keys).await {
                Ok(found) => Ok(found.or(kept)),
                // What is written in the file is a login too, whether the helper works or not.
                Err(e) => kept.map(Some).ok_or(e),
            },
        }
    }
}

/// Credentials as the engine takes them: as JSON, so as text.
///
/// # Errors
///
/// `Invalid` if the password is not UTF-8.
pub(crate) fn as_docker(login: &Credentials, server: &str) -> Result<DockerCredentials> {
    let password = login.password.expose_str().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, OP, "the password for a registry is not UTF-8")
            .with("registry", server)
            .hint("Log in with a token instead of the password.")
    })?;
    Ok(DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(password.into()),
        serveraddress: Some(server.into()),
        ..DockerCredentials::default()
    })
}

/// An identity token, as an OAuth server gave it, as the engine takes it.
fn by_token(token: impl Into<String>, server: &str) -> DockerCredentials {
    DockerCredentials {
        identitytoken: Some(token.into()),
        serveraddress: Some(server.into()),
        ..DockerCredentials::default()
    }
}

/// The secrets in credentials, for the redactor.
pub(crate) fn secrets_of(login: &DockerCredentials) -> impl Iterator<Item = Secret> {
    let texts = [&login.password, &login.identitytoken, &login.registrytoken, &login.auth];
    texts.into_iter().flatten().map(|t| Secret::new(t.as_bytes())).collect::<Vec<_>>().into_iter()
}

/// The keys under which a login for a registry may be kept, the best first: its own name, then
/// what means the same host.
fn keys_of<'k>(registry: &str, known: impl Iterator<Item = &'k String>) -> Vec<String> {
    let is_hub = HUB_KEYS.contains(&registry);
    let own: &[&str] = if is_hub { &HUB_KEYS } else { &[registry] };
    let mut keys: Vec<String> = own.iter().map(|k| (*k).to_owned()).collect();
    let mut like: Vec<&String> = known
        .filter(|k| own.iter().any(|o| host_of(o).eq_ignore_ascii_case(host_of(k))))
        .filter(|k| !own.contains(&k.as_str()))
        .collect();
    // The shortest is for the whole host; a longer one may be for a part of it.
    like.sort_by_key(|k| k.len());
    keys.extend(like.into_iter().cloned());
    keys
}

fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests;
