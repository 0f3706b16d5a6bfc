//! Each port with a layer around it: what a layer is told of each call, and no more than that.

mod effects;
mod memory;
mod surroundings;
