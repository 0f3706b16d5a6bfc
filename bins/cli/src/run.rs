//! Pipelines of `wercker.yml`: `check`, `detect`.

mod check;
mod detect;

pub(crate) use check::check;
pub(crate) use detect::detect;

use kiln::{Error, ErrorKind};

fn wrong_in(op: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, op, message)
}
