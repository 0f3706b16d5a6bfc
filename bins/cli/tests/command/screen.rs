//! The screen on a terminal that `script` makes.

use crate::bench::{Bench, real};

/// Runs the command on a terminal; returns what it drew there and its exit code.
fn on_terminal(bench: &Bench, args: &[&str], vars: &[(&str, &str)]) -> Option<(String, i32)> {
    let kiln = bench.command(args);
    let words = std::iter::once(kiln.get_program()).chain(kiln.get_args());
    let words: Vec<_> = words.map(|w| format!("'{}'", w.to_str().unwrap())).collect();
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &words.join(" "), "/dev/null"]).stdin(std::process::Stdio::null());
    for (name, value) in kiln.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("CI").env("TERM", "xterm").env("LANG", "C.UTF-8").env_remove("LC_ALL");
    match command.envs(vars.iter().copied()).output() {
        Ok(run) => {
            let said = String::from_utf8_lossy(&run.stdout).into_owned();
            Some((said, run.status.code().unwrap_or(-1)))
        }
        Err(e) => {
            println!("SKIPPED: the screen: kernel: `script` cannot be run: {e}");
            None
        }
    }
}

/// Whether the cursor was ever sent up.
fn moved(said: &str) -> bool {
    said.split("\u{1b}[")
        .skip(1)
        .any(|s| s.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('A'))
}

#[test]
fn a_terminal_shows_a_screen_that_leaves_only_what_stays() {
    let Some(bench) = real("a_terminal_shows_a_screen") else { return };
    let dir = bench.context("FROM {base}\nRUN echo unseen; sleep 0.5\n", &[]);
    let path = dir.path().to_str().unwrap();
    let Some((said, code)) = on_terminal(&bench, &["build", path, "--no-cache"], &[]) else {
        return;
    };
    assert!(code == 0 && moved(&said), "{said:?}");
    // What is drawn last is all that stays.
    let stays = said.rsplit("\u{1b}[J").next().unwrap();
    assert!(stays.contains("image") && !stays.contains("unseen"), "{said:?}");
    assert!(said.contains("RUN echo unseen"), "{said:?}");
    assert!(said.contains("\u{1b}[32m✓\u{1b}[0m"), "{said:?}");
}

#[test]
fn a_terminal_that_cannot_move_gets_plain_lines() {
    let Some(bench) = real("a_terminal_that_cannot_move") else { return };
    let dir = bench.context("FROM {base}\nRUN echo seen\n", &[]);
    let path = dir.path().to_str().unwrap();
    for vars in [("TERM", "dumb"), ("CI", "true")] {
        let args = ["build", path, "--no-cache"];
        let Some((said, code)) = on_terminal(&bench, &args, &[vars]) else { return };
        assert!(code == 0 && !moved(&said) && said.contains("[build] seen"), "{vars:?}: {said:?}");
    }
    let args = ["build", path, "--no-cache"];
    let Some((said, _)) = on_terminal(&bench, &args, &[("NO_COLOR", "1")]) else { return };
    assert!(moved(&said) && !said.contains("\u{1b}[32m"), "{said:?}");
}

#[test]
fn a_failure_stays_with_its_last_words() {
    let Some(bench) = real("a_failure_stays") else { return };
    let dir = bench.context("FROM {base}\nRUN echo last words; exit 3\n", &[]);
    let args = ["build", dir.path().to_str().unwrap(), "--no-cache"];
    let Some((said, code)) = on_terminal(&bench, &args, &[("NO_COLOR", "1")]) else { return };
    assert!(code == 1 && said.contains("│ last words"), "{said:?}");
    assert!(said.contains("✗") && said.contains("`kiln logs "), "{said:?}");
}
