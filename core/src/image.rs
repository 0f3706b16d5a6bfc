//! Image references and digests as parsed types.
//!
//! The grammar is the one of the distribution project (`github.com/distribution/reference`), which
//! Docker, containerd and the registries follow: `[registry[:port]/]path[:tag][@digest]`.

mod digest;
mod error;
mod grammar;
mod reference;
#[cfg(test)]
mod tests;

pub use digest::{Digest, DigestError};
pub use error::ImageRefError;
pub use reference::ImageRef;
