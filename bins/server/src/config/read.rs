//! Reading the settings: the file, over it the environment, over that the command line.

use super::{Config, example};
use crate::args::Set;
use kiln::{Error, ErrorKind, Result};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// What settings are read from beside the file and the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) vars: BTreeMap<String, String>,
}

impl Source {
    pub(crate) fn of_process() -> Self {
        // What is no text names no setting.
        let text = |(k, v): (std::ffi::OsString, std::ffi::OsString)| {
            Some((k.into_string().ok()?, v.into_string().ok()?))
        };
        Self { vars: std::env::vars_os().filter_map(text).collect() }
    }

    fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "kiln-server", message)
}

/// The variable that a setting is read from.
fn variable(path: &[&str]) -> String {
    format!("KILN_{}", path.join("_").to_uppercase())
}

impl Config {
    pub(crate) fn read(set: &Set, source: &Source) -> Result<Self> {
        let mut table = match &set.config {
            Some(path) => read_file(path)?,
            None => Table::new(),
        };
        let known = Table::try_from(example()).map_err(|e| invalid(e.to_string()))?;
        let file = set.config.as_deref();
        check_keys(&table, &known, &mut Vec::new(), file)?;
        overlay(&mut table, &known, &mut Vec::new(), source)?;
        let mut put = |path: &[&str], value: Option<Value>| {
            if let Some(value) = value {
                insert(&mut table, path, value);
            }
        };
        put(&["data"], set.data.as_ref().map(|d| d.display().to_string().into()));
        put(&["listen", "native"], set.listen.as_ref().map(|l| l.to_string().into()));
        put(&["slots"], set.slots.map(|s| Value::Integer(s.into())));
        put(&["docker", "host"], set.docker_host.clone().map(Value::String));
        put(&["store", "url"], set.store.clone().map(Value::String));
        if !table.contains_key("data") {
            insert(&mut table, &["data"], default_data(source)?.display().to_string().into());
        }
        let config: Self = table.try_into().map_err(|e: toml::de::Error| {
            let error = invalid(e.message().to_owned());
            match file {
                Some(file) => error.with("file", file.display()),
                None => error,
            }
        })?;
        config.check()?;
        Ok(config)
    }

    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| invalid(e.to_string()))
    }
}

fn default_data(source: &Source) -> Result<PathBuf> {
    if let Some(data) = source.var("XDG_DATA_HOME") {
        return Ok(PathBuf::from(data).join("kiln-server"));
    }
    let home = source.var("HOME").ok_or_else(|| {
        invalid("there is no HOME to keep data in").hint("Name a directory with --data.")
    })?;
    Ok(PathBuf::from(home).join(".local/share/kiln-server"))
}

fn read_file(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        invalid("the settings cannot be read").with("file", path.display()).source(e)
    })?;
    text.parse::<Table>().map_err(|e| {
        let before = &text[..e.span().map_or(0, |s| s.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        invalid(e.message().to_owned())
            .with("file", path.display())
            .with("line", line)
            .with("column", column)
    })
}

fn check_keys<'a>(
    table: &'a Table,
    known: &'a Table,
    path: &mut Vec<&'a str>,
    file: Option<&Path>,
) -> Result<()> {
    for (key, value) in table {
        path.push(key);
        match (known.get(key), value) {
            // Names of one's own choosing; what is below each is checked when it is read.
            (Some(Value::Table(known)), Value::Table(_)) if known.is_empty() => {}
            (Some(Value::Table(known)), Value::Table(table)) => {
                check_keys(table, known, path, file)?;
            }
            (Some(_), _) => {}
            (None, _) => {
                let error = invalid(format!("there is no setting `{}`", path.join(".")));
                let error = match file {
                    Some(file) => error.with("file", file.display()),
                    None => error,
                };
                let near = known.keys().map(|k| (strsim::damerau_levenshtein(k, key), k)).min();
                return Err(match near {
                    Some((distance, near)) if distance <= 3 => {
                        path.pop();
                        path.push(near);
                        error.hint(format!("Did you mean `{}`?", path.join(".")))
                    }
                    _ => error.hint("`kiln-server config show` prints all settings."),
                });
            }
        }
        path.pop();
    }
    Ok(())
}

/// Puts in what the environment says, in the type that the setting has.
fn overlay<'a>(
    table: &mut Table,
    known: &'a Table,
    path: &mut Vec<&'a str>,
    source: &Source,
) -> Result<()> {
    for (key, value) in known {
        path.push(key);
        if let Value::Table(known) = value {
            overlay(table, known, path, source)?;
        } else if !matches!(value, Value::Array(_))
            && let Some(text) = source.var(&variable(path))
        {
            let wrong =
                |what| invalid(format!("`{}` is not {what}", variable(path))).with("value", text);
            let value = match value {
                Value::Integer(_) => {
                    text.parse().map(Value::Integer).map_err(|_| wrong("a number"))
                }
                Value::Boolean(_) => {
                    text.parse().map(Value::Boolean).map_err(|_| wrong("`true` or `false`"))
                }
                _ => Ok(Value::String(text.to_owned())),
            }?;
            insert(table, path, value);
        }
        path.pop();
    }
    Ok(())
}

fn insert(table: &mut Table, path: &[&str], value: Value) {
    let Some((last, before)) = path.split_last() else { return };
    let mut at = table;
    for key in before {
        let next = at.entry(*key).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(next) = next else { return };
        at = next;
    }
    at.insert((*last).to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, vars: &[(&str, &str)], set: Set) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kiln.toml");
        std::fs::write(&path, file).unwrap();
        let vars = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let vars = vars.chain([("HOME".to_owned(), "/home/ann".to_owned())]).collect();
        Config::read(&Set { config: Some(path), ..set }, &Source { vars })
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
        let file = "slots = 3\ndata = \"/a\"\n[listen]\nnative = \"127.0.0.1:1\"\n";
        let config = read(file, &[], Set::default()).unwrap();
        assert_eq!((config.slots, config.data.as_path()), (3, Path::new("/a")));
        let vars = [("KILN_SLOTS", "4"), ("KILN_LISTEN_NATIVE", "127.0.0.1:2")];
        let config = read(file, &vars, Set::default()).unwrap();
        assert_eq!((config.slots, config.listen.native.to_string().as_str()), (4, "127.0.0.1:2"));
        let set = Set { slots: Some(5), ..Set::default() };
        assert_eq!(read(file, &vars, set).unwrap().slots, 5);
        let data = read("", &[], Set::default()).unwrap().data;
        assert_eq!(data, Path::new("/home/ann/.local/share/kiln-server"));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let told = |file: &str, vars: &[(&str, &str)]| {
            let e = read(file, vars, Set::default()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid);
            format!("{e} {}", e.hint_text().unwrap_or(""))
        };
        assert!(told("[listen]\nnativ = \"x\"", &[]).contains("Did you mean `listen.native`?"));
        assert!(told("slots = 2\nslots = 3", &[]).contains("line: 2"));
        assert!(told("[listen]\nnative = \"nowhere\"", &[]).contains("socket address"));
        assert!(told("", &[("KILN_SLOTS", "many")]).contains("`KILN_SLOTS` is not a number"));
        assert!(told("[store]\nurl = \"mysql://x\"", &[]).contains("postgres://"));
        assert!(told("[hooks.a]\nforge = \"x\"", &[]).contains("github"));
        assert!(told("[notify.a]\nkind = \"x\"", &[]).contains("webhook"));
        assert!(told("[[pool]]\nname = \"a\"", &[]).contains("docker_host"));
        assert!(told("[tls]\nkey = \"k\"", &[]).contains("certificate"));
        assert!(told("colour = 1", &[]).contains("config show"));
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let config =
            read("slots = 7\n[docker]\nhost = \"unix:///x\"", &[], Set::default()).unwrap();
        assert_eq!(read(&config.to_toml().unwrap(), &[], Set::default()).unwrap(), config);
        let every = example().to_toml().unwrap();
        assert_eq!(read(&every, &[], Set::default()).unwrap(), example());
    }

    #[test]
    fn names_of_ones_own_choosing_are_no_mistake() {
        let file = "[limits]\nbranch = 2\n[hooks.app]\nforge = \"gitea\"\nsecret = \"s\"\n\
                    repos = [\"a/*\"]\n[notify.ci]\nkind = \"webhook\"\nurl = \"https://x\"\n\
                    secret = \"s\"\n";
        let config = read(file, &[], Set::default()).unwrap();
        assert_eq!(config.limits["branch"], 2);
        assert_eq!((config.hooks.len(), config.notify.len()), (1, 1));
    }

    #[test]
    fn a_password_is_not_shown() {
        let file = "[store]\nurl = \"postgres://ann:s3cret@db/kiln\"";
        let config = read(file, &[], Set::default()).unwrap();
        let shown = format!("{config:?} {}", config.to_toml().unwrap());
        assert!(
            !shown.contains("s3cret") && shown.contains("postgres://ann:***@db/kiln"),
            "{shown}"
        );
        let file = "[store]\nurl = \"mysql://ann:s3cret@db/kiln\"";
        let e = read(file, &[], Set::default()).unwrap_err();
        assert!(!format!("{e:?} {e}").contains("s3cret"));
    }
}
