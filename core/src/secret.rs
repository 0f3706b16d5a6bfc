//! stub
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretRef(String);
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(Vec<u8>);
impl Secret {
    pub fn new(b: impl Into<Vec<u8>>) -> Self {
        Self(b.into())
    }
}
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Text(String),
    Secret(SecretRef),
}
