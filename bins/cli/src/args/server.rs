//! Which server a command works with, and what can be asked of servers only.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// A server to work with, and who this command is to it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct ServerArgs {
    /// Build and look with this server, such as https://kiln.example.com or unix:///run/kiln.sock
    #[arg(long, global = true, value_name = "URL", env = "KILN_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// The file with the token for the server [default: KILN_TOKEN, KILN_TOKEN_FILE, `kiln login`]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Use http:// to another machine, where everybody on the way can read what is sent
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The server [default: --server or KILN_SERVER]
    pub(crate) url: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The build, by its id or the beginning of it; the latest without it
    pub(crate) id: Option<String>,
    /// Only what failed, and what comes after it
    #[arg(long)]
    pub(crate) from_failed: bool,
    /// Do not wait for its end
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Print events and log as JSON, one object a line, the result last
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ArtifactArgs {
    /// The build, by its id or the beginning of it
    pub(crate) id: String,
    /// The artifact to take; all are listed without it
    pub(crate) name: Option<String>,
    /// Where to write it, or - for standard output [default: its name, here]
    #[arg(short, long, value_name = "FILE", requires = "name", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) command: Option<NodeCommand>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List them, as without a command
    List,
    /// Give a node no new builds
    Drain {
        /// The node
        node: String,
    },
    /// Give a node builds again
    Undrain {
        /// The node
        node: String,
    },
    /// Forget a node that is gone
    Remove {
        /// The node
        node: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: Option<TokenCommand>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List them, as without a command
    List,
    /// Make a token and print it; it is shown this once
    Create {
        /// What it is for
        name: String,
        /// Whose builds it makes and sees
        #[arg(long, default_value = "local")]
        owner: String,
        /// What it allows: admin, submit, read or agent; may be given several times
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Remove a token
    Remove {
        /// Its name
        name: String,
    },
}
