//! What `cargo xtask help` prints.

use crate::error::{Failure, Result};

/// One command's text.
struct Topic {
    name: &'static str,
    line: &'static str,
    text: &'static str,
}

const TOPICS: &[Topic] = &[Topic {
    name: "services",
    line: "start, stop and list the servers that tests talk to",
    text: "\
usage: cargo xtask services up [NAME…] | down [NAME…] | status

Names: docker, registry, registry-auth, registry-tls, postgres, redis, s3, or `all`. `up` without
a name starts what the tests need (docker and the registries); `down` without a name stops all.

A service listens on a private port of this machine, starts empty, keeps its log, and is described
in target/services/services.json: its address, its credentials, its process. `up` twice is fine.
`down` stops what `up` started and nothing else; an engine that was there before stays.

A program that is missing is installed with apt-get when root on Debian; else its image is run
when the engine has it; else the package is named.",
}];

const FOOT: &str = "\
Exit codes: 0 done, 1 it failed, 2 wrong use. docs/development.md says more.";

/// Prints the list of commands, or one command's text.
pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [] => {
            println!("usage: cargo xtask COMMAND\n");
            for topic in TOPICS {
                println!("  {:<10} {}", topic.name, topic.line);
            }
            println!("  {:<10} this list, or more about one command\n\n{FOOT}", "help");
            Ok(())
        }
        [name] if matches!(name.as_str(), "help" | "--help" | "-h") => run(&[]),
        [name] => match TOPICS.iter().find(|topic| topic.name == name) {
            Some(topic) => {
                println!("{}", topic.text);
                Ok(())
            }
            None => Err(Failure::Usage(format!("there is no command `{name}`"))),
        },
        _ => Err(Failure::Usage("help takes one command".into())),
    }
}

/// The names of all commands.
pub(crate) fn commands() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|topic| topic.name).chain(["help"])
}
