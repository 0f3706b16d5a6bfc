//! A server that this command works with.
//!
//! Its journals, logs and lists are read through the ports that every engine reads them by, so what
//! is shown of a build does not depend on where it runs.

mod address;
mod client;
mod index;
mod journal;
mod keyring;
mod log;
mod steady;

pub(crate) use address::Address;
pub(crate) use client::Client;
pub(crate) use keyring::Keyring;
pub(crate) use steady::{Note, Steady};

use crate::{args::ServerArgs, print};
use kiln::{BuildId, Engine, Error, ErrorKind, Result, Secret, Timestamp};
use serde::Deserialize;
use std::{path::Path, sync::Arc};

/// A server, and who this command is to it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) client: Client,
    /// Tells of the builds that are with the server, and drives none of them.
    pub(crate) engine: Engine,
    /// What goes on through a server that is away for a while.
    pub(crate) steady: Steady,
}

/// Who this command is to a server, as the server says.
#[derive(Debug, Deserialize)]
pub(crate) struct Whoami {
    /// Whose builds it makes and sees.
    pub(crate) owner: String,
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// The version of the server.
    #[serde(default)]
    pub(crate) version: Option<String>,
    /// Its time.
    #[serde(default)]
    pub(crate) time: Option<Timestamp>,
}

impl Whoami {
    /// What is to be said of two versions that are more than a minor one apart.
    pub(crate) fn skew(&self) -> Option<String> {
        let (here, there) = (env!("CARGO_PKG_VERSION"), self.version.as_deref()?);
        let read = |text: &str| {
            let mut parts = text.split('.').map(|part| part.parse::<u64>().ok());
            Some((parts.next()??, parts.next()??))
        };
        let near = match (read(here), read(there)) {
            (Some(a), Some(b)) => a.0 == b.0 && a.1.abs_diff(b.1) <= 1,
            _ => here == there,
        };
        (!near).then(|| {
            format!("the server is of version {there} and this kiln of {here}; they may differ")
        })
    }

    /// Who that is, for people.
    pub(crate) fn says(&self) -> String {
        match self.scopes.is_empty() {
            true => self.owner.clone(),
            false => format!("{} ({})", self.owner, self.scopes.join(", ")),
        }
    }
}

/// The longest token that is read.
const TOKEN_BYTES_MAX: usize = 4096;

impl Server {
    /// The server that the arguments and the environment name, if they name one.
    pub(crate) fn of(place: &ServerArgs) -> Result<Option<Self>> {
        let Some(text) = place.server.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let address = Address::parse(text)?;
        let token = token(place, &address)?;
        Self::at(address, token, place.insecure).map(Some)
    }

    /// The server at an address. `Denied` if what is sent there could be read on the way, unless
    /// that is wanted.
    pub(crate) fn at(address: Address, token: Option<Secret>, insecure: bool) -> Result<Self> {
        if !address.is_private() && !insecure {
            let message = "everybody on the way could read what is sent to this server";
            return Err(Error::new(ErrorKind::Denied, "kiln", message)
                .with("server", address.name())
                .hint("Use https://, or --insecure where the network itself is trusted."));
        }
        let client = Client::new(address, token)?;
        let steady = Steady::default();
        let engine = Engine::builder()
            .store(Arc::new(journal::ServerJournals::new(client.clone())))
            .log_reader(Arc::new(log::ServerLogs::new(client.clone())))
            .index(Arc::new(index::ServerIndex::new(client.clone())))
            .build();
        let tools = engine.tools().clone().layer_memory(&steady);
        let engine = Engine::builder().toolbox(tools).build();
        Ok(Self { client, engine, steady })
    }

    /// Who this command is. `Denied` if the server knows no such token.
    pub(crate) async fn whoami(&self) -> Result<Whoami> {
        let who = || self.client.get("kiln", &["whoami"], &[]);
        self.steady.again(who).await
    }

    /// Makes sure, before anything is sent, that the server is there and takes the token, and says
    /// so if its version is too far from this one.
    pub(crate) async fn greet(&self) -> Result<()> {
        if let Some(skew) = self.whoami().await?.skew() {
            print::note(format!("warning: {skew}"));
        }
        Ok(())
    }

    /// Asks a build to stop; `Conflict` if it is over.
    pub(crate) async fn cancel(&self, build: &BuildId, reason: &str, force: bool) -> Result<()> {
        let ask = serde_json::json!({ "reason": reason, "force": force });
        let path = ["builds", build.as_str(), "cancel"];
        let work = || async { self.client.post("kiln cancel", &path, &ask, None).await.map(drop) };
        self.steady.again(work).await
    }
}

/// The token for a server: from a file that was named, the environment, or what `kiln login` kept.
/// None is needed where the server listens to its own machine only.
fn token(place: &ServerArgs, address: &Address) -> Result<Option<Secret>> {
    if let Some(file) = &place.token_file {
        return read_token(file).map(Some);
    }
    if let Some(text) = var("KILN_TOKEN") {
        return checked(text.as_bytes(), "KILN_TOKEN").map(Some);
    }
    if let Some(file) = var("KILN_TOKEN_FILE") {
        return read_token(Path::new(&file)).map(Some);
    }
    Keyring::of_user()?.token(address)
}

pub(crate) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Reads a token from a file.
pub(crate) fn read_token(file: &Path) -> Result<Secret> {
    use std::io::Read;
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(file)?.take(TOKEN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e: std::io::Error| {
        Error::new(ErrorKind::Invalid, "kiln", "the file of the token cannot be read")
            .with("file", file.display())
            .source(e.to_string())
    })?;
    checked(&bytes, "the file")
}

/// Takes a token; what was written instead is not repeated, since it may be one all the same.
pub(crate) fn checked(text: &[u8], from: &str) -> Result<Secret> {
    let token = text.trim_ascii();
    let legal = |c: &u8| c.is_ascii_graphic();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.iter().all(legal) {
        let message = format!("what {from} holds is no token");
        return Err(Error::new(ErrorKind::Invalid, "kiln", message)
            .hint("A token is one line, as `kiln-server token create` prints it."));
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_never_repeated() {
        assert_eq!(checked(b"kiln_abc\n", "x").unwrap().expose(), b"kiln_abc");
        for bad in [&b""[..], b" \n", b"hunter2 hunter2", b"hunter2\x01", &[b'x'; 5000]] {
            let e = checked(bad, "KILN_TOKEN").unwrap_err();
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
    }

    #[test]
    fn versions_may_be_one_apart() {
        let skew = |version: &str| {
            let json = serde_json::json!({ "owner": "ann", "version": version });
            serde_json::from_value::<Whoami>(json).unwrap().skew()
        };
        assert_eq!(env!("CARGO_PKG_VERSION"), "0.1.0", "the versions below have moved on");
        for near in ["0.0.9", "0.1.0", "0.1.7", "0.2.0-beta.1"] {
            assert_eq!(skew(near), None, "{near}");
        }
        for far in ["0.3.0", "1.1.0", "later"] {
            assert!(skew(far).unwrap().contains(far), "{far}");
        }
    }

    #[test]
    fn only_a_private_way_is_taken() {
        let at = |text: &str, insecure| {
            Server::at(Address::parse(text).unwrap(), None, insecure).map(drop)
        };
        for good in ["https://kiln.test", "http://127.0.0.1:7070", "http://[::1]:1"] {
            at(good, false).unwrap();
        }
        let e = at("http://kiln.test:7070", false).unwrap_err();
        assert!(e.kind() == ErrorKind::Denied && e.hint_text().unwrap().contains("--insecure"));
        at("http://kiln.test:7070", true).unwrap();
    }
}
