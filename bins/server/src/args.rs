//! What the command line says.

use crate::{
    config::{Config, Source},
    listen::Address,
    serve,
    tokens::{self, Tokens},
};
use clap::{Args as Flags, Parser, Subcommand};
use kiln::{Error, ErrorKind, Owner, Result};
use kiln_api_native::Scope;
use std::{
    io::{Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

/// Accepts builds over HTTP, drives them, and keeps their history.
///
/// Without any setup it keeps its data below the data directory of its user, builds with the
/// Docker engine of this machine, and listens on 127.0.0.1:7070 for everybody on it.
#[derive(Debug, Parser)]
#[command(name = "kiln-server", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    set: Set,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Settings of the command line; they win over the environment, and that over the file.
#[derive(Clone, Debug, Default, Flags)]
pub(crate) struct Set {
    /// Read settings from this file.
    #[arg(long, global = true, value_name = "FILE", env = "KILN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Keep data below this directory.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Listen here for the native API; `unix:PATH` for a socket.
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<Address>,
    /// Drive this many builds side by side.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) slots: Option<u16>,
    /// Build with the Docker engine here, as DOCKER_HOST has it.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) docker_host: Option<String>,
    /// Keep builds here: sqlite:PATH, postgres://… or redis://…. A password belongs into the
    /// environment or a file: others can read the command line.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make, list and remove tokens. A server that runs knows of a change at once.
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the settings can be used.
    Check,
    /// Print every setting as it is used, as a file that could be read again.
    Show,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it. It is shown once: only its hash is kept.
    Create {
        /// What it is for.
        name: String,
        /// Whose builds it makes and sees.
        #[arg(long, default_value = "local")]
        owner: Owner,
        /// What it allows: admin, submit, read or agent. May be repeated.
        #[arg(long = "scope", required = true, value_parser = scope)]
        scopes: Vec<Scope>,
    },
    /// List tokens.
    List,
    /// Remove a token.
    Remove {
        /// Its name.
        name: String,
    },
}

fn scope(text: &str) -> std::result::Result<Scope, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "expected `admin`, `submit`, `read` or `agent`".to_owned())
}

impl Args {
    pub(crate) async fn run(self) -> ExitCode {
        let done = match self.command {
            None => serve::run(&self.set).await,
            Some(command) => Config::read(&self.set, &Source::of_process())
                .and_then(|config| command.run(&config)),
        };
        let Err(e) = done else { return ExitCode::SUCCESS };
        let mut text = format!("kiln-server: {e}");
        let mut next = std::error::Error::source(&e);
        while let Some(cause) = next {
            text.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        if let Some(hint) = e.hint_text() {
            text.push_str(&format!("\n  help: {hint}"));
        }
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(stderr(), "{text}");
        match e.kind() {
            ErrorKind::Invalid => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Command {
    fn run(self, config: &Config) -> Result<()> {
        let mut out = stdout().lock();
        let tokens = Tokens::of(&config.data);
        let written = match self {
            Self::Config(ConfigCommand::Check) => writeln!(out, "the settings can be used"),
            Self::Config(ConfigCommand::Show) => write!(out, "{}", config.to_toml()?),
            Self::Token(TokenCommand::Create { name, owner, scopes }) => {
                let text = tokens.create(&name, owner, scopes)?;
                writeln!(out, "{}", tokens::shown(&text))
            }
            Self::Token(TokenCommand::List) => {
                tokens.list()?.iter().try_for_each(|token| writeln!(out, "{token}"))
            }
            Self::Token(TokenCommand::Remove { name }) => {
                tokens.remove(&name)?;
                Ok(())
            }
        };
        written.map_err(|e| {
            Error::new(ErrorKind::Unexpected, "kiln-server", "the answer cannot be written")
                .source(e)
        })
    }
}
