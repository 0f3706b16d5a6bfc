//! stub
use crate::secret::Secret;
#[derive(Clone, Debug, Default)]
pub struct Redactor;
#[derive(Debug)]
pub struct RedactStream;
impl Redactor {
    pub fn new() -> Self {
        Self
    }
    pub fn add(&self, _: &Secret) {}
    pub fn stream(&self) -> RedactStream {
        RedactStream
    }
    pub fn redact_text(&self, t: &str) -> String {
        t.into()
    }
}
impl RedactStream {
    pub fn push(&mut self, b: &[u8]) -> Vec<u8> {
        b.to_vec()
    }
    pub fn finish(&mut self) -> Vec<u8> {
        vec![]
    }
}
