//! The registry logins that Docker's own command line keeps: `config.json` and credential helpers.
//!
//! Source of the format: `github.com/docker/cli`, `docker login` and "Credential helper protocol".

use base64::{Engine, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use kiln::{Error, ErrorKind, Result, Secret, secret::Credentials};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};
use tokio::io::AsyncWriteExt;

const OP: &str = "Docker::credentials";
/// The name under which logins to Docker Hub are kept.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HELPER_TIME: Duration = Duration::from_secs(20);

/// Docker's own logins.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    config_dir: Option<PathBuf>,
}

/// A registry that Docker is logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLogin {
    /// The registry.
    pub registry: String,
    /// Where the login is kept: `config.json`, or the name of a helper.
    pub kept_in: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl CredentialStore {
    /// The logins in a configuration directory; none without one.
    pub fn new(config_dir: Option<PathBuf>) -> Self {
        Self { config_dir }
    }

    async fn config(&self) -> Result<ConfigFile> {
        let Some(path) = self.config_dir.as_ref().map(|d| d.join("config.json")) else {
            return Ok(ConfigFile::default());
        };
        let text = match tokio::fs::read(&path).await {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(ConfigFile::default()),
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

    /// The logins there are, without asking for their secrets.
    pub async fn known(&self) -> Result<Vec<KnownLogin>> {
        let config = self.config().await?;
        let plain = config.auths.into_iter().map(|(key, auth)| {
            let store = config.creds_store.clone().filter(|_| auth.auth.is_empty());
            KnownLogin {
                registry: host_of(&key).into(),
                kept_in: store.unwrap_or("config.json".into()),
            }
        });
        let helped = config
            .cred_helpers
            .iter()
            .map(|(host, helper)| KnownLogin { registry: host.clone(), kept_in: helper.clone() });
        Ok(plain.chain(helped).collect())
    }

    /// The login for a registry, if there is one. Only an equal host is one: never a part of it.
    pub(crate) async fn login(&self, registry: &str) -> Result<Option<DockerCredentials>> {
        let config = self.config().await?;
        let key = if registry == "docker.io" { HUB_KEY } else { registry };
        if let Some(helper) = config.cred_helpers.get(registry) {
            return ask(helper, key).await;
        }
        let same = |k: &&String| **k == key || host_of(k) == host_of(key);
        if let Some(name) = config.auths.keys().find(same) {
            let auth = &config.auths[name];
            if !auth.identitytoken.is_empty() {
                return Ok(Some(DockerCredentials {
                    identitytoken: Some(auth.identitytoken.clone()),
                    serveraddress: Some(key.into()),
                    ..DockerCredentials::default()
                }));
            }
            if !auth.auth.is_empty() {
                let broken = || {
                    Error::new(
                        ErrorKind::Invalid,
                        OP,
                        "a login in Docker's configuration is broken",
                    )
                    .with("registry", registry)
                    .hint("Run `docker login` again.")
                };
                let bytes = STANDARD.decode(auth.auth.trim()).map_err(|_| broken())?;
                let login = Credentials::parse(&Secret::new(bytes)).ok_or_else(broken)?;
                return Ok(Some(as_docker(&login, key)));
            }
        }
        match &config.creds_store {
            Some(helper) => ask(helper, key).await,
            None => Ok(None),
        }
    }
}

/// Credentials as the engine takes them.
pub(crate) fn as_docker(login: &Credentials, server: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.username.clone()),
        password: login.password.expose_str().map(str::to_owned),
        serveraddress: Some(server.into()),
        ..DockerCredentials::default()
    }
}

/// The secrets in credentials, for the redactor.
pub(crate) fn secrets_of(login: &DockerCredentials) -> impl Iterator<Item = Secret> {
    let texts = [&login.password, &login.identitytoken, &login.registrytoken, &login.auth];
    texts.into_iter().flatten().map(|t| Secret::new(t.as_bytes())).collect::<Vec<_>>().into_iter()
}

fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Asks a credential helper; `None` if it has no login.
async fn ask(helper: &str, server: &str) -> Result<Option<DockerCredentials>> {
    let failed = |what: &str| {
        Error::new(ErrorKind::Unavailable, OP, format!("the credential helper {what}"))
            .with("helper", format!("docker-credential-{helper}"))
            .status(kiln::Status::Permanent)
    };
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(failed("has a name that is not one"));
    }
    let run = async {
        let mut child = tokio::process::Command::new(format!("docker-credential-{helper}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(server.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(HELPER_TIME, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(_)) => return Err(failed("cannot be run")),
        Err(_) => return Err(failed("did not answer within 20 s")),
    };
    if !output.status.success() {
        // The protocol has these words for it; anything else is trouble, such as a locked keychain.
        let said = String::from_utf8_lossy(&output.stdout);
        let none = said.trim().starts_with("credentials not found in native keychain");
        return if none { Ok(None) } else { Err(failed("refused")) };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("gave no sense"))?;
    if answer.username == "<token>" {
        return Ok(Some(DockerCredentials {
            identitytoken: Some(answer.secret),
            serveraddress: Some(server.into()),
            ..DockerCredentials::default()
        }));
    }
    let login = Credentials { username: answer.username, password: Secret::new(answer.secret) };
    Ok(Some(as_docker(&login, server)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store(json: &str) -> (tempfile::TempDir, CredentialStore) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), json).unwrap();
        let store = CredentialStore::new(Some(dir.path().into()));
        (dir, store)
    }

    #[tokio::test]
    async fn a_login_is_for_just_one_host() {
        let auth = STANDARD.encode("bob:a?b>c");
        let json = format!(
            r#"{{"auths":{{"r.io:5000":{{"auth":"{auth}"}},"https://index.docker.io/v1/":{{"auth":"{auth}"}}}}}}"#
        );
        let (_dir, store) = store(&json).await;
        let login = store.login("r.io:5000").await.unwrap().unwrap();
        assert_eq!(login.password.as_deref(), Some("a?b>c"));
        assert!(store.login("docker.io").await.unwrap().is_some());
        for other in ["r.io", "evil-r.io:5000", "r.io:5000.evil.com", "io:5000"] {
            assert!(store.login(other).await.unwrap().is_none(), "{other}");
        }
        assert_eq!(store.known().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_broken_file_is_named_with_its_place_and_no_content() {
        let (_dir, store) = store("{\n \"auths\": {\"r\": {\"auth\": hunter2}}}").await;
        let e = store.login("r").await.unwrap_err();
        let text = format!("{e:?}");
        assert!(text.contains("line: 2") && !text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn no_file_is_no_login() {
        assert!(CredentialStore::new(None).login("r.io").await.unwrap().is_none());
        let store = CredentialStore::new(Some("/nonexistent".into()));
        assert!(store.login("r.io").await.unwrap().is_none());
    }
}
