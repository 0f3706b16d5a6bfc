//! Completions and manual pages.

use crate::{args::Exit, print};
use clap_complete::Shell;
use kiln::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// Prints the completions of a shell.
pub(crate) fn completions(mut command: clap::Command, shell: Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "kiln", &mut text);
    print::raw(&text);
    Exit::Fine
}

/// Prints the first manual page, or writes all of them into a directory.
pub(crate) fn man(command: clap::Command, dir: Option<PathBuf>) -> Result<Exit> {
    let wrong = |e: std::io::Error| {
        Error::new(ErrorKind::Unexpected, "kiln man", "the manual cannot be written")
            .source(e.to_string())
    };
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir).map_err(wrong)?;
            clap_mangen::generate_to(command, &dir).map_err(wrong)?;
            print::note(format!("wrote the manual pages to {}", dir.display()));
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text).map_err(wrong)?;
            print::raw(&text);
        }
    }
    Ok(Exit::Fine)
}
