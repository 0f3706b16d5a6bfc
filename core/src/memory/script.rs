use crate::port::Stream;
use std::{collections::BTreeMap, time::Duration};

/// What a command will do, and when: known in full as soon as it starts, so that whoever attaches
/// to it later sees the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// What is printed, each after how long.
    pub(super) prints: Vec<(Duration, Stream, Vec<u8>)>,
    /// How it ends, after how long.
    pub(super) end: (Duration, End),
    /// What it leaves in the box: paths of files and their bytes.
    pub(super) writes: Vec<(String, Vec<u8>)>,
    /// The variables it leaves to its session.
    pub(super) env: BTreeMap<String, Vec<u8>>,
    /// Whether it ends the shell that runs it.
    pub(super) leaves: bool,
}

/// How a command ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With an exit code.
    Exit(i64),
    /// Never by itself.
    Hangs,
    /// With trouble of the machine.
    Infra,
    /// The program is not there.
    Unknown(String),
}

impl Script {
    /// Reads a command: one of the words, or `/bin/sh -c` with words between `;` and line ends.
    /// The first word that does not succeed ends it.
    pub(super) fn read(argv: &[String], env: BTreeMap<String, Vec<u8>>, attempt: u8) -> Self {
        let mut script = Self::new(env);
        match argv {
            [shell, flag, text] if shell.ends_with("sh") && flag == "-c" => {
                script.text(text, attempt);
            }
            words => {
                script.word(words, attempt);
            }
        }
        script
    }

    /// Reads a text for the shell of a session, in which a missing program is an exit code.
    pub(super) fn read_in_session(text: &str, env: BTreeMap<String, Vec<u8>>, attempt: u8) -> Self {
        let mut script = Self::new(env);
        script.text(text, attempt);
        if let End::Unknown(_) = script.end.1 {
            script.end.1 = End::Exit(127);
        }
        script
    }

    fn new(env: BTreeMap<String, Vec<u8>>) -> Self {
        let end = (Duration::ZERO, End::Exit(0));
        Self { prints: Vec::new(), end, writes: Vec::new(), env, leaves: false }
    }

    fn text(&mut self, text: &str, attempt: u8) {
        for command in text.split([';', '\n']) {
            let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
            if !words.is_empty() && !self.word(&words, attempt) {
                break;
            }
        }
    }

    /// Adds one command; says whether the next one follows.
    fn word(&mut self, words: &[String], attempt: u8) -> bool {
        let (program, rest) = words.split_first().map_or(("", words), |(p, r)| (p.as_str(), r));
        let number = rest.first().and_then(|n| n.parse::<u64>().ok());
        let end = match (program, number) {
            ("true", _) => End::Exit(0),
            ("false", _) => End::Exit(1),
            ("exit", code) => {
                self.leaves = true;
                End::Exit(code.map_or(0, |c| c as i64))
            }
            ("set", _) if rest.len() > 1 => {
                self.env.insert(rest[0].clone(), rest[1..].join(" ").into_bytes());
                End::Exit(0)
            }
            ("write", _) if !rest.is_empty() => {
                self.writes.push((rest[0].clone(), line(&rest[1..], &self.env)));
                End::Exit(0)
            }
            ("echo" | "warn", _) => {
                let stream = if program == "echo" { Stream::Stdout } else { Stream::Stderr };
                self.prints.push((self.end.0, stream, line(rest, &self.env)));
                End::Exit(0)
            }
            ("sleep", Some(millis)) => {
                self.end.0 += Duration::from_millis(millis);
                End::Exit(0)
            }
            ("flaky", times) if u64::from(attempt) > times.unwrap_or(1) => End::Exit(0),
            ("flaky" | "fail-infra", _) => End::Infra,
            ("hang", _) => End::Hangs,
            _ => End::Unknown(program.to_owned()),
        };
        self.end.1 = end;
        self.end.1 == End::Exit(0) && program != "exit"
    }
}

/// The words with a blank between, `$NAME` replaced by what the environment has.
fn line(words: &[String], env: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut line = Vec::new();
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            line.push(b' ');
        }
        match word.strip_prefix('$') {
            Some(name) => line.extend_from_slice(env.get(name).map_or(&[], Vec::as_slice)),
            None => line.extend_from_slice(word.as_bytes()),
        }
    }
    line.push(b'\n');
    line
}
