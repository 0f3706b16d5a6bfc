//! Whatever the address of a repository: no panic, and nothing dangerous is let in.
//!
//! The module is taken in by its path, since its crate would bring all of libgit2.
#![no_main]

#[expect(dead_code, reason = "parts of the module are for the rest of its crate")]
#[path = "../../../adapters/git/src"]
mod source {
    pub mod url;
}

use libfuzzer_sys::fuzz_target;
use source::url::{self as address, GitUrl, Scheme};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = address::is_git_url(text);
    let Ok(url) = address::parse(text) else { return };
    safe(text, &url);
    let shown = url.to_string();
    let again =
        address::parse(&shown).unwrap_or_else(|e| panic!("`{text}` shows as `{shown}`: {e}"));
    assert_eq!(again, url, "`{text}` shows as `{shown}`");
    safe(&shown, &url.repository());
    // What `.gitmodules` of a stranger says is joined to the address of its parent.
    if let Some((first, second)) = text.split_once('#') {
        let parent = address::parse(first);
        if let Ok(joined) = parent.and_then(|parent| parent.join(second)) {
            safe(second, &joined);
        }
    }
});

fn safe(text: &str, url: &GitUrl) {
    for part in [url.host(), url.user().unwrap_or_default(), url.reference().unwrap_or_default()] {
        assert!(!part.starts_with('-'), "`{text}` brings an option");
        assert!(!part.contains(char::is_control), "`{text}` brings a control character");
    }
    assert!(!url.path().contains(char::is_control) && !url.path().starts_with('-'), "`{text}`");
    let local = url.scheme() == Scheme::Path;
    assert_eq!(local, url.local_path().is_some(), "`{text}`");
    assert_eq!(local, url.host().is_empty(), "`{text}` has a host if it is not local");
    let subdir = url.subdir().to_string();
    assert!(!subdir.starts_with('/') && subdir.split('/').all(|p| p != ".."), "`{text}`");
}
