//! Docker's contexts: named engines.
//!
//! Source of the format: `github.com/docker/cli`, `cli/context/store`. The file
//! `contexts/meta/ID/meta.json` of Docker's directory holds a context and `contexts/tls/ID/docker`
//! its certificates; ID is the SHA-256 of its name in hexadecimal digits.

use super::{ClientFiles, ConfigError, Host, TlsFiles};
use kiln::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The engine of a context.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) host: Host,
    pub(super) tls: Option<TlsFiles>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    #[serde(default)]
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The context that was chosen; none if it is the default one.
pub(super) fn current(
    chosen: Option<String>,
    dir: Option<&Path>,
) -> Result<Option<Context>, ConfigError> {
    let name = match (chosen, dir) {
        (Some(name), _) => name,
        (None, None) => return Ok(None),
        (None, Some(dir)) => match config_file(&dir.join("config.json"))?.current_context {
            Some(name) if !name.is_empty() => name,
            _ => return Ok(None),
        },
    };
    if name == "default" {
        return Ok(None);
    }
    let fail = |problem: &str| ConfigError::Context { name: name.clone(), problem: problem.into() };
    let dir = dir.ok_or_else(|| fail("neither HOME nor DOCKER_CONFIG says where contexts are"))?;
    load(&name, &dir.join("contexts"), &fail).map(Some)
}

fn config_file(path: &Path) -> Result<ConfigFile, ConfigError> {
    let fail = |problem: String| ConfigError::File { path: path.into(), problem };
    match std::fs::read(path) {
        // Only the place: the words could quote a login.
        Ok(text) => serde_json::from_slice(&text).map_err(|e| {
            fail(format!("it is not valid at line {}, column {}", e.line(), e.column()))
        }),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(ConfigFile::default())
        }
        Err(e) => Err(fail(e.to_string())),
    }
}

fn load(
    name: &str,
    contexts: &Path,
    fail: &dyn Fn(&str) -> ConfigError,
) -> Result<Context, ConfigError> {
    let id = Digest::sha256(Sha256::digest(name).into());
    let text = match std::fs::read(contexts.join("meta").join(id.encoded()).join("meta.json")) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(fail("there is none of this name; `docker context ls` lists them"));
        }
        Err(e) => return Err(fail(&e.to_string())),
    };
    let meta: Meta = serde_json::from_slice(&text).map_err(|e| fail(&e.to_string()))?;
    let endpoint = meta.endpoints.docker.filter(|_| meta.name == name);
    let endpoint = endpoint.ok_or_else(|| fail("it names no Docker engine"))?;
    if endpoint.skip_tls_verify {
        return Err(fail("it leaves out to check who answers; give it the engine's authority"));
    }
    let host = match &*endpoint.host {
        "" => super::DockerConfig::default().host,
        host => host.parse().map_err(|e: ConfigError| fail(&e.to_string()))?,
    };
    Ok(Context { host, tls: tls(&contexts.join("tls").join(id.encoded()).join("docker")) })
}

/// The certificates of a context; none if it has none.
fn tls(dir: &Path) -> Option<TlsFiles> {
    let file = |name| Some(dir.join(name)).filter(|path: &PathBuf| path.exists());
    let ca = file("ca.pem");
    let client = (file("cert.pem").or_else(|| file("key.pem")))
        .map(|_| ClientFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem") });
    (ca.is_some() || client.is_some()).then_some(TlsFiles { ca, client })
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigError, DockerConfig, Host};
    use std::{fs, path::Path};

    /// The SHA-256 of `remote`, by `sha256sum`.
    const REMOTE: &str = "b71199ebd070b36beab7317920c2c2f1d777df8d05e5527d8458fda57cb17a7a";

    fn docker_dir(endpoint: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("contexts/meta").join(REMOTE);
        fs::create_dir_all(&meta).unwrap();
        let text =
            format!(r#"{{"Name":"remote","Metadata":{{}},"Endpoints":{{"docker":{endpoint}}}}}"#);
        fs::write(meta.join("meta.json"), text).unwrap();
        fs::write(dir.path().join("config.json"), r#"{"currentContext":"remote"}"#).unwrap();
        dir
    }

    fn read(dir: &Path, more: &[(&str, &str)]) -> Result<DockerConfig, ConfigError> {
        DockerConfig::from_vars(|name| match name {
            "DOCKER_CONFIG" => dir.to_str().map(str::to_owned),
            _ => more.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()),
        })
    }

    #[test]
    fn the_current_context_says_where_the_engine_is() {
        let dir = docker_dir(r#"{"Host":"tcp://h:2376","SkipTLSVerify":false}"#);
        let remote = Host::Tcp("h:2376".into());
        let config = read(dir.path(), &[]).unwrap();
        assert_eq!((&config.host, &config.tls), (&remote, &None));

        let tls = dir.path().join("contexts/tls").join(REMOTE).join("docker");
        fs::create_dir_all(&tls).unwrap();
        fs::write(tls.join("ca.pem"), "").unwrap();
        let files = read(dir.path(), &[]).unwrap().tls.unwrap();
        assert_eq!((files.ca, files.client), (Some(tls.join("ca.pem")), None));
        fs::write(tls.join("key.pem"), "").unwrap();
        let files = read(dir.path(), &[]).unwrap().tls.unwrap();
        assert_eq!(files.client.unwrap().cert, tls.join("cert.pem"));
    }

    #[test]
    fn variables_come_before_the_current_context() {
        let dir = docker_dir(r#"{"Host":"tcp://h:2376"}"#);
        let default = DockerConfig::default().host;
        let by_host = read(dir.path(), &[("DOCKER_HOST", "tcp://other:1")]).unwrap();
        assert_eq!(by_host.host, Host::Tcp("other:1".into()));
        let by_name = read(dir.path(), &[("DOCKER_CONTEXT", "default")]).unwrap();
        assert_eq!(by_name.host, default);
        let unknown = read(dir.path(), &[("DOCKER_CONTEXT", "nope")]).unwrap_err();
        assert!(unknown.to_string().contains("`nope`") && unknown.to_string().contains("ls"));
        assert_eq!(read(Path::new("/nonexistent"), &[]).unwrap().host, default);
    }

    #[test]
    fn a_context_that_cannot_be_used_is_never_another_engine() {
        for (endpoint, word) in [
            (r#"{"Host":"ssh://bob@h"}"#, "ssh -nNT"),
            (r#"{"Host":"tcp://h:2376","SkipTLSVerify":true}"#, "who answers"),
            ("7", "invalid type"),
            ("null", "no Docker engine"),
        ] {
            let dir = docker_dir(endpoint);
            let e = read(dir.path(), &[]).unwrap_err().to_string();
            assert!(e.contains("`remote`") && e.contains(word), "{e}");
        }
        let dir = docker_dir("{}");
        fs::write(dir.path().join("config.json"), "{\n \"auths\": hunter2}").unwrap();
        let e = read(dir.path(), &[]).unwrap_err().to_string();
        assert!(e.contains("line 2") && !e.contains("hunter2"), "{e}");
    }
}
