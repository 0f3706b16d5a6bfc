//! The variables that a run is given: by the environment, by a file, by the arguments.

use super::wrong;
use crate::{build::GivenSecrets, print};
use kiln::{Owner, Result, Secret, SecretRef, Value};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The name of the file that need not be there.
const DEFAULT_FILE: &str = "ENVIRONMENT";
/// The longest file of variables.
const BYTES_MAX: u64 = 4 << 20;
/// What every step may need to reach the world.
const PROXIES: [&str; 6] =
    ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
/// Variables that begin so are for the steps.
const PLAIN: &str = "X_";
/// Variables that begin so are for the steps, and secret.
const SECRET: &str = "XXX_";

/// Where variables come from.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// The environment of this process.
    pub(crate) host: BTreeMap<String, String>,
    /// The file of variables, and the directory it is looked for in.
    pub(crate) file: (PathBuf, &'a Path),
    /// `--env`.
    pub(crate) env: &'a [String],
    /// `--secret`.
    pub(crate) secrets: &'a [String],
    /// Who keeps the values of secrets; without it a server does, and has them already.
    pub(crate) kept: Option<&'a GivenSecrets>,
}

impl Given<'_> {
    /// The variables for the plan: of a secret it has only the name.
    pub(crate) fn variables(mut self) -> Result<BTreeMap<String, Value>> {
        let (file, dir) = &self.file;
        for (name, value) in read_file(file, dir)? {
            // What the environment says itself is stronger than a file.
            self.host.entry(name).or_insert(value);
        }
        let (mut all, mut hidden) = (BTreeMap::new(), BTreeMap::new());
        let mut left_out = Vec::new();
        for (name, value) in &self.host {
            let (short, is_secret) = match for_steps(name, value) {
                Some(known) => known,
                None => continue,
            };
            if !is_secret {
                all.insert(short.to_owned(), Value::Text(value.clone()));
            } else if let Some(secret) = self.keep(name, value)? {
                hidden.insert(short.to_owned(), Value::Secret(secret));
            } else {
                left_out.push(name.as_str());
            }
        }
        // What somebody hides is not shown because somebody else shows it.
        all.extend(hidden);
        if !left_out.is_empty() {
            print::note(format!(
                "note: {} not sent to a server; --secret NAME means a secret that the server keeps",
                match left_out.as_slice() {
                    [one] => format!("{one} is"),
                    many => format!("{} are", many.join(", ")),
                }
            ));
        }
        for text in self.env {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text.as_str(), self.host.get(text).cloned()),
            };
            let name = legal(name, "--env")?;
            // One that is not set here is not set there either.
            if let Some(value) = value {
                all.insert(name.to_owned(), Value::Text(value));
            }
        }
        for name in self.secrets {
            let name = legal(name, "--secret")?;
            let secret = match (self.kept, self.host.get(name)) {
                (None, _) => SecretRef::new(name).map_err(|e| wrong(e.to_string()))?,
                (Some(_), Some(value)) => self
                    .keep(name, value)?
                    .ok_or_else(|| wrong("a secret has nobody to keep it"))?,
                (Some(_), None) => {
                    return Err(wrong(format!("the secret `{name}` has no value"))
                        .hint("Set the environment variable of that name."));
                }
            };
            all.insert(name.to_owned(), Value::Secret(secret));
        }
        Ok(all)
    }

    /// Keeps the value of a secret; none if that is a server's affair.
    fn keep(&self, name: &str, value: &str) -> Result<Option<SecretRef>> {
        let Some(kept) = self.kept else { return Ok(None) };
        let secret = SecretRef::new(name).map_err(|e| wrong(format!("variable {name}: {e}")))?;
        kept.put(&Owner::local(), &secret, Secret::new(value.as_bytes().to_vec()));
        Ok(Some(secret))
    }
}

/// The variables of this process that are text.
pub(crate) fn host() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// What a variable of this side is called in steps, and whether it is a secret; none if it is not
/// for them.
fn for_steps<'a>(name: &'a str, value: &str) -> Option<(&'a str, bool)> {
    if PROXIES.contains(&name) {
        // It may have a login.
        return Some((name, value.contains('@')));
    }
    let (short, is_secret) = match name.strip_prefix(SECRET) {
        Some(short) => (short, true),
        None => (name.strip_prefix(PLAIN)?, false),
    };
    is_name(short).then_some((short, is_secret))
}

/// Whether a shell takes it for the name of a variable.
fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn legal<'a>(name: &'a str, option: &str) -> Result<&'a str> {
    match is_name(name) {
        true => Ok(name),
        // The rest may be the secret itself.
        false => Err(wrong(format!("{option}: that is not the name of a variable"))
            .hint("A name has letters, digits and `_`, and begins with no digit.")),
    }
}

/// The variables of a file, which need not be there if nobody named it.
fn read_file(file: &Path, dir: &Path) -> Result<BTreeMap<String, String>> {
    let is_default = file == Path::new(DEFAULT_FILE);
    let path = if is_default { dir.join(file) } else { file.to_owned() };
    let failed = |e: std::io::Error| {
        wrong("the file of variables cannot be read").with("file", path.display()).source(e)
    };
    let opened = match File::open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && is_default => {
            return Ok(BTreeMap::new());
        }
        opened => opened.map_err(failed)?,
    };
    if is_default && opened.metadata().is_ok_and(|about| !about.is_file()) {
        return Ok(BTreeMap::new());
    }
    let mut text = String::new();
    opened.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(
            wrong("the file of variables is larger than 4 MiB").with("file", path.display())
        );
    }
    read_lines(&text).map_err(|line| {
        wrong("a line of the file of variables cannot be read")
            .with("file", path.display())
            .with("line", line)
            .hint("Write NAME=VALUE; a value may stand between ' or \" signs.")
    })
}

/// Reads lines `NAME=VALUE`, with `#` for remarks; else the number of the line that is none.
fn read_lines(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut all = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(i + 1)?;
        let (name, value) = (name.trim(), value.trim());
        if !is_name(name) {
            return Err(i + 1);
        }
        all.insert(name.to_owned(), unquoted(value).ok_or(i + 1)?);
    }
    Ok(all)
}

/// A value without its quotes. Between `"` signs `\n`, `\"` and `\\` mean what they do elsewhere;
/// without quotes ` #` begins a remark.
fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (text, after) = rest.split_once('\'')?;
        return is_remark(after).then(|| text.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").unwrap_or(value.len());
        return Some(value[..end].trim_end().to_owned());
    };
    let (mut out, mut chars) = (String::new(), rest.chars());
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                c @ ('"' | '\\' | '$') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    is_remark(chars.as_str()).then_some(out)
}

fn is_remark(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::port::Secrets;

    fn given<'a>(
        dir: &'a Path,
        host: &[(&str, &str)],
        kept: Option<&'a GivenSecrets>,
    ) -> Given<'a> {
        let host = host.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Given { host, file: (DEFAULT_FILE.into(), dir), env: &[], secrets: &[], kept }
    }

    #[tokio::test]
    async fn only_what_is_for_steps_is_given_and_a_secret_only_by_its_name() {
        let (dir, kept) = (tempfile::tempdir().unwrap(), GivenSecrets::default());
        std::fs::write(dir.path().join("ENVIRONMENT"), "X_A=file\nX_B='b # c'\nOTHER=1\n").unwrap();
        let host =
            [("X_A", "host"), ("XXX_T", "hunter2"), ("HOME", "/"), ("X_", "no"), ("X_1", "no")];
        let all = given(dir.path(), &host, Some(&kept)).variables().unwrap();
        let secret = SecretRef::new("XXX_T").unwrap();
        let expected = [
            ("A", Value::Text("host".into())),
            ("B", Value::Text("b # c".into())),
            ("T", Value::Secret(secret.clone())),
        ];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(kept.reveal(&Owner::local(), &secret).await.unwrap().expose(), b"hunter2");
        let host = [("http_proxy", "http://u:hunter2@p"), ("XXX_T", "hunter2"), ("X_T", "no")];
        let all = given(dir.path(), &host, Some(&kept)).variables().unwrap();
        assert!(!format!("{all:?}").contains("hunter2") && matches!(all["T"], Value::Secret(_)));
        let there = given(dir.path(), &host, None).variables().unwrap();
        assert!(!format!("{there:?}").contains("hunter2"), "{there:?}");
    }

    #[test]
    fn variables_are_named_one_by_one_too() {
        let dir = tempfile::tempdir().unwrap();
        let kept = GivenSecrets::default();
        let (env, secrets) = (["A=b=c".into(), "B".into(), "C".into()], ["T".into()]);
        let host = [("B", "host"), ("T", "hunter2")];
        let all = Given { env: &env, secrets: &secrets, ..given(dir.path(), &host, Some(&kept)) };
        let all = all.variables().unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["A", "B", "T"]);
        assert!(matches!(all["T"], Value::Secret(_)) && all["A"] == Value::Text("b=c".into()));
        for (env, secrets) in [("=hunter2", "T"), ("A=b", "T=hunter2"), ("A=b", "NONE")] {
            let (env, secrets) = ([env.into()], [secrets.into()]);
            let bad =
                Given { env: &env, secrets: &secrets, ..given(dir.path(), &host, Some(&kept)) };
            let e = bad.variables().unwrap_err();
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
    }

    #[test]
    fn a_file_of_variables_is_read_and_its_bad_lines_are_named() {
        let text = "# x\n\nexport A=1 # one\nB=\"a\\n\\\"b\\\" $C\" # b\nC='$x #'\nD=a#b\nE=\n";
        let read = read_lines(text).unwrap();
        let all: Vec<_> = read.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(all, ["A=1", "B=a\n\"b\" $C", "C=$x #", "D=a#b", "E="]);
        for (bad, line) in [("A\n", 1), ("A=1\nB='x\n", 2), ("1A=x", 1), ("A=\"x\" y", 1)] {
            assert_eq!(read_lines(bad), Err(line), "{bad}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(read_file(Path::new("ENVIRONMENT"), dir.path()).unwrap().is_empty());
        let e = read_file(Path::new("/nonexistent/env"), dir.path()).unwrap_err();
        assert!(e.to_string().contains("/nonexistent/env"), "{e}");
    }
}
