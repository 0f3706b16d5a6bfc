//! Reads `wercker.yml` and the manifests of steps, and makes plans of them.
//!
//! `docs/wercker.md` describes the file, and what differs from the original.

pub mod file;
pub mod plan;
pub mod step;
