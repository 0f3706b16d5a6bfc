//! What `cargo xtask help` prints.

use crate::error::{Failure, Result};

/// One command's text.
struct Topic {
    name: &'static str,
    line: &'static str,
    text: &'static str,
}

const TOPICS: &[Topic] = &[DEMO, TEST, SERVICES, TIDY, BENCH, GOLDEN];

const DEMO: Topic = Topic {
    name: "demo",
    line: "from a git repository to a pushed image, on real parts",
    text: "\
usage: cargo xtask demo

Makes sure of a Docker engine and a registry, makes a base image from the system's busybox and a
git repository with a Dockerfile, builds and pushes it with the kiln command, pulls it back by its
digest, runs it, and shows history and log. It stops what it started. Kiln's data stays in
target/demo/home until the next demo.",
};

const TEST: Topic = Topic {
    name: "test",
    line: "check everything, on real parts",
    text: "\
usage: cargo xtask test [--long] [--no-real] [FILTER]

In this order: packages that are missing, services, cargo fmt, clippy, tidy, doc, cargo test,
examples, cargo deny (where it is installed), and the services are stopped, also when something
fails or the task is killed. A service that ran before keeps running. The last line is
`N passed, N failed`, and `, N skipped` if tests said so; a step that fails without a failed test
counts as one. With CI=true a skipped test fails unless its reason begins with `kernel:` or
`release:`.

  --long      cargo deny is built if need be, a fetch of 300 MB is weighed, tests kill and send
              as much as docs/spec.md says, and every fuzz target runs for a minute
  --no-real   no services, no engine: only what needs nothing
  FILTER      only the tests whose name holds it, and nothing but tests",
};

const SERVICES: Topic = Topic {
    name: "services",
    line: "start, stop and list the servers that tests talk to",
    text: "\
usage: cargo xtask services up [NAME…] | down [NAME…] | status

Names: docker, registry, registry-auth, registry-tls, postgres, redis, s3, or `all`. Without
a name, `up` starts what the tests need, which is all, and `down` stops all.

A service listens on a private port of this machine, starts empty, keeps its log, and is described
in target/services/services.json: its address, its credentials, its process. `up` twice is fine.
`down` stops what `up` started and nothing else; an engine that was there before stays.

A program that is missing is installed with apt-get when root on Debian; else its image is run
when the engine has it; else the package is named.",
};

const TIDY: Topic = Topic {
    name: "tidy",
    line: "check the house rules that the compiler does not know",
    text: "\
usage: cargo xtask tidy

Checks who depends on whom; what core reaches; that state, plan and event are pure and core reads
no clock or environment; the length of files and functions (bins/xtask/tidy-ratchet.txt lists longer
ones, which may only shrink); leftovers; at most five required methods in a port; licences, bans,
doubles and sources of all crates by deny.toml; and that the paths, crates and tasks which the
documents name exist.",
};

const BENCH: Topic = Topic {
    name: "bench",
    line: "measure what docs/spec.md promises",
    text: "\
usage: cargo xtask bench [NAME]

Runs the benches, or one, and prints a table of what was promised and what was measured. A bench
says so in lines `promise NAME MEASURED OP LIMIT UNIT`, where OP is one of <= >= < >.",
};

const GOLDEN: Topic = Topic {
    name: "golden",
    line: "compare stored and wire formats with their golden files",
    text: "\
usage: cargo xtask golden [--bless]

Runs the tests whose name holds `golden`. With --bless (KILN_BLESS=1) they write what they see, and
what changed is listed.",
};

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
