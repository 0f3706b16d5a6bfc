//! The beginning of what a server says of itself, looked at before libgit2 sees it: libgit2 cannot
//! read ids of SHA-256 and says something else of them every time.

/// How far the capabilities of a server may reach, in bytes.
const LENGTH_MAX: usize = 16 << 10;

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Advertisement {
    start: Vec<u8>,
    is_read: bool,
}

impl Advertisement {
    /// Takes the next bytes; true if they say that ids are not SHA-1.
    ///
    /// The capabilities stand in the first line, between a NUL and a line feed
    /// (gitprotocol-pack(5)). What comes later is the names of references, which anybody chooses.
    pub(super) fn is_strange(&mut self, bytes: &[u8]) -> bool {
        if self.is_read {
            return false;
        }
        let room = LENGTH_MAX - self.start.len();
        self.start.extend(bytes.iter().take(room));
        let capabilities = self.start.iter().position(|b| *b == 0).map(|at| &self.start[at..]);
        let whole =
            capabilities.and_then(|c| c.split_at_checked(c.iter().position(|b| *b == b'\n')?));
        let strange = whole.is_some_and(|(line, _)| {
            line.split(|b| b" \0".contains(b)).any(|word| {
                word.strip_prefix(b"object-format=").is_some_and(|format| format != b"sha1")
            })
        });
        if whole.is_some() || self.start.len() == LENGTH_MAX {
            self.is_read = true;
            self.start = Vec::new();
        }
        strange
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(chunks: &[&[u8]]) -> bool {
        let mut advertisement = Advertisement::default();
        chunks.iter().any(|chunk| advertisement.is_strange(chunk))
    }

    #[test]
    fn only_capabilities_are_believed() {
        let strange = b"00a1 12ab HEAD\0side-band object-format=sha256 agent=x\n";
        assert!(says(&[strange]));
        for at in 0..strange.len() {
            assert!(says(&[&strange[..at], &strange[at..]]), "{at}");
        }
        assert!(says(&[b"12ab capabilities^{}\0object-format=sha256\n"]));
        assert!(!says(&[b"12ab HEAD\0object-format=sha1 x\n", strange]));
        assert!(!says(&[b"12ab HEAD\0x\n003f 12ab refs/heads/object-format=sha256\n"]));
        assert!(!says(&[b"12ab refs/heads/object-format=sha256 \0x\n"]));
        assert!(!says(&[&vec![b'x'; LENGTH_MAX], strange]));
    }
}
