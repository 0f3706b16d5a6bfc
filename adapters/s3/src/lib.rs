//! Keeps artifacts in S3, on any server that speaks it.
//!
//! [`S3Config`] says where, [`Credentials`] who asks, and [`S3Artifacts`] is the store. The layout of
//! the bucket is described in `docs/formats.md`.

mod artifacts;
mod client;
mod config;
mod credentials;
mod download;
mod error;
mod keys;
mod link;
mod record;
mod sweep;
mod transport;
mod upload;

pub use artifacts::S3Artifacts;
pub use config::{S3Config, Style};
pub use credentials::Credentials;
pub use link::Link;
pub use sweep::Swept;
