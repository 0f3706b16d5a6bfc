//! Whatever the text: no panic, and what is read as the name of an image comes back the same.
//!
//! `cargo xtask test --long` builds and runs all targets. By hand, in tests/fuzz: set RUSTFLAGS as
//! bins/xtask/src/test/fuzz.rs does, `cargo run --release --target x86_64-unknown-linux-gnu --bin
//! image_ref corpus/image_ref`.
#![no_main]

use kiln::{Digest, ImageRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Digest::parse(text).map(|digest| assert_eq!(digest.to_string(), text));
    match ImageRef::parse(text) {
        Ok(image) => check(text, &image),
        Err(error) => {
            assert!(error.at <= text.len() && text.is_char_boundary(error.at), "{error:?}");
            assert!(!error.to_string().contains('\n'));
            if let Some(meant) = &error.suggestion {
                assert!(ImageRef::parse(meant).is_ok(), "{error:?}");
            }
        }
    }
});

fn check(text: &str, image: &ImageRef) {
    let short = image.to_string();
    assert_eq!(ImageRef::parse(&short).as_ref(), Ok(image), "{text}");
    let long = ImageRef::parse(&image.canonical()).expect("the long form is a name");
    assert_eq!(
        (long.registry(), long.repository(), long.digest(), long.tag()),
        (image.registry(), image.repository(), image.digest(), image.tag_or_latest()),
    );
    assert_eq!(long.canonical(), image.canonical());
    assert!(!image.repository().chars().any(|c| c.is_uppercase()));
    assert_eq!(image.without_tag().to_string(), image.name());
}
