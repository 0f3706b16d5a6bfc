//! Whatever a `.dockerignore` file says: no panic, no hang, and the promises of the matcher.
//!
//! The module is taken in by its path, since its crate would bring a whole Docker client.
#![no_main]

#[path = "../../../adapters/docker/src/ignore.rs"]
mod ignore;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What stands before the first NUL is the file, the rest are paths.
    let (file, paths) = text.split_once('\0').unwrap_or((text, "a/b"));
    let matcher = match ignore::parse(file) {
        Ok(matcher) => matcher,
        Err(error) => {
            assert!((1..=file.lines().count()).contains(&error.line), "{error}");
            return;
        }
    };
    let exceptions = file.contains('!');
    for path in paths.split('\0').take(8).filter(|p| !p.is_empty()) {
        let excluded = matcher.excludes(path);
        if matcher.prunes(path) {
            assert!(excluded && matcher.excludes(&format!("{path}/x/y")), "`{path}` is pruned");
        }
        assert!(exceptions || matcher.prunes(path) == excluded, "nothing could come back");
        // One more line that says all or nothing decides alone.
        let all = ignore::parse(&format!("{file}\n**")).expect("a file and one more line");
        assert!(all.excludes(path), "`{path}` with ** at the end");
        let none = ignore::parse(&format!("{file}\n!**")).expect("a file and one more line");
        assert!(!none.excludes(path), "`{path}` with !** at the end");
    }
});
