//! Tells people by e-mail how builds went.
//!
//! `docs/notify.md` describes it for operators. Nothing here tries again: a
//! [`Courier`](kiln::Courier) does.

mod config;
mod error;
mod letter;
mod mail;

pub use config::{MailConfig, Security, When};
pub use mail::Mail;
