//! Which names a repository may be at.

/// Whether a name can belong to the public internet: it has more than one part and does not end in
/// one that is kept for private use (RFC 6761, 6762, 8375 and ICANN's `internal`).
pub(crate) fn is_public_name(name: &str) -> bool {
    const PRIVATE: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "test", "invalid"];
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends = |end: &str| name.strip_suffix(end).is_some_and(|n| n.is_empty() || n.ends_with('.'));
    name.contains('.') && !PRIVATE.into_iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_private_use_are_not_public() {
        for name in ["localhost", "db", "a.LocalHost.", "nas.local", "metadata.google.internal"] {
            assert!(!is_public_name(name), "{name}");
        }
        for name in ["github.com", "mylocal.org", "git.localhost.org", "x.y.z."] {
            assert!(is_public_name(name), "{name}");
        }
    }
}
