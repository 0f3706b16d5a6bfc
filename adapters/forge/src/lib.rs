//! Tells forges, and anybody else who listens on a URL, how builds went: [`Webhook`] sends signed
//! requests, [`Statuses`] sets the state of the commit that a build is of.
//!
//! `docs/notify.md` describes both for operators. Nothing here tries again: a
//! [`Courier`](kiln::Courier) does.

mod client;
mod config;
mod error;
mod gate;
mod status;
mod webhook;
mod wire;

pub use config::{Forge, On, StatusConfig, WebhookConfig};
pub use status::Statuses;
pub use webhook::Webhook;
