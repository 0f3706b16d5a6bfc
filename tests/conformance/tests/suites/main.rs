//! The suites, run on the memory adapters and on every layer around them.

mod archive;
mod effects;
mod layers;
mod memory;
mod on_host;
