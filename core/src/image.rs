//! stub
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(String);
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageRef(String);
impl ImageRef {
    pub fn parse(s: &str) -> Result<Self, String> {
        Ok(Self(s.into()))
    }
}
