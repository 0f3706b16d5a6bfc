//! Secrets for one build: from files and the environment, kept in memory only.

use super::plan::usage;
use async_trait::async_trait;
use kiln::{Error, Owner, Result, Secret, SecretRef, memory::MemorySecrets, port::Secrets};
use std::{fs::File, io::Read};

/// BuildKit takes no longer ones.
const BYTES_MAX: u64 = 500 * 1024;

/// The secrets that this process was given. Those of a build that another one began are lost.
#[derive(Debug, Default)]
pub(crate) struct GivenSecrets(MemorySecrets);

impl GivenSecrets {
    /// Takes the secret that `id=NAME[,src=FILE|,env=VARIABLE]` tells of; returns its name, under
    /// which both the recipe and the plan know it.
    pub(super) fn take(&self, spec: &str) -> Result<SecretRef> {
        let (mut id, mut file, mut variable) = (None, None, None);
        for part in spec.split(',') {
            let (key, value) =
                part.split_once('=').ok_or_else(|| wrong("has a part without `=`"))?;
            match key {
                "id" => id = Some(value),
                "src" | "source" => file = Some(value),
                "env" => variable = Some(value),
                // Which is what the other keys say already.
                "type" if matches!(value, "file" | "env") => {}
                _ => return Err(wrong("has a part that is none of id, src and env")),
            }
        }
        let id = id.ok_or_else(|| wrong("has no id"))?;
        let name = SecretRef::new(id).map_err(|e| wrong(&e.to_string()))?;
        let value = match (file, variable) {
            (Some(_), Some(_)) => return Err(wrong("has both a file and a variable")),
            (Some(file), None) => read(file)?,
            (None, variable) => {
                let variable = variable.unwrap_or(id);
                let value = std::env::var_os(variable).ok_or_else(|| {
                    usage(format!("the secret `{id}` has no value"))
                        .with("environment variable", variable)
                        .hint("Set it, or name a file with src=FILE.")
                })?;
                Secret::new(std::os::unix::ffi::OsStringExt::into_vec(value))
            }
        };
        self.0.set(Owner::local(), name.clone(), value);
        Ok(name)
    }
}

impl GivenSecrets {
    /// Takes a secret whose value is known.
    pub(crate) fn put(&self, owner: &Owner, name: &SecretRef, value: Secret) {
        self.0.set(owner.clone(), name.clone(), value);
    }
}

/// The name of a secret that a server keeps: `id=NAME`. No value ever goes there from here.
pub(super) fn kept_there(spec: &str) -> Result<SecretRef> {
    match spec.split_once('=') {
        Some(("id", name)) if !name.contains(',') => {
            SecretRef::new(name).map_err(|e| wrong(&e.to_string()))
        }
        _ => Err(usage("the value of a secret is not sent to a server")
            .hint("Keep it with the server, and name it here: --secret id=NAME.")),
    }
}

/// Nothing of what was written is repeated: it may be the secret itself.
fn wrong(what: &str) -> Error {
    usage(format!("a --secret {what}")).hint("Write id=NAME,src=FILE or id=NAME,env=VARIABLE.")
}

fn read(file: &str) -> Result<Secret> {
    let fail = |e: std::io::Error| {
        usage("the file of a secret cannot be read").with("file", file).source(e.to_string())
    };
    let mut bytes = Vec::new();
    File::open(file).map_err(fail)?.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(usage("the file of a secret is larger than 500 KiB").with("file", file));
    }
    Ok(Secret::new(bytes))
}

#[async_trait]
impl Secrets for GivenSecrets {
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret> {
        self.0.reveal(owner, secret).await.map_err(|e| {
            e.hint("A secret is only known to the command it was given to: start a new build.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        let secrets = GivenSecrets::default();
        for bad in [
            "hunter2",
            "src=/etc/hostname",
            "id=a,hunter2",
            "id=a,scr=hunter2",
            "id=a b",
            "id=a,src=/nonexistent",
            "id=KILN_TEST_NO_SUCH_VARIABLE",
            "id=a,src=x,env=y",
        ] {
            let e = secrets.take(bad).unwrap_err();
            assert!(!format!("{e:?}").contains("hunter2"), "{bad}: {e:?}");
        }
        assert!(secrets.take("id=a,src=/dev/zero").is_err());
    }

    #[tokio::test]
    async fn a_secret_is_a_file_or_a_variable() {
        let secrets = GivenSecrets::default();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"of a file").unwrap();
        let of_file = secrets.take(&format!("id=a,src={}", file.path().display())).unwrap();
        let of_variable = secrets.take("id=b,env=PATH").unwrap();
        let reveal = |name| {
            let secrets = &secrets;
            async move { secrets.reveal(&Owner::local(), &name).await.unwrap() }
        };
        assert_eq!(reveal(of_file).await.expose(), b"of a file");
        assert_eq!(reveal(of_variable).await.expose_str().unwrap(), std::env::var("PATH").unwrap());
        let other = SecretRef::new("other").unwrap();
        let e = secrets.reveal(&Owner::local(), &other).await.unwrap_err();
        assert!(e.hint_text().unwrap().contains("new build"));
    }
}
