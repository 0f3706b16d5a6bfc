//! What every [`Secrets`] must do.
//!
//! The expression makes a `Fresh<S>` in which the owner `ann` has a secret `token` with the value
//! `s3cret of ann`, and nobody has any other.

use crate::{Fresh, helpers::expect_kind, sample::owner};
use kiln::{ErrorKind, SecretRef, port::Secrets};

/// Makes a test of every promise of secrets. The expression makes a `Fresh<S>` for some
/// `S: Secrets`.
#[macro_export]
macro_rules! secrets_suite {
    ($fresh:expr) => {
        $crate::tests_of! { secrets, $fresh,
            an_owner_gets_its_secret
            nobody_gets_what_is_not_theirs
            nothing_shows_a_value
        }
    };
}

fn name(text: &str) -> SecretRef {
    SecretRef::new(text).expect("a name in a test is one")
}

/// The value comes back byte for byte, each time.
pub async fn an_owner_gets_its_secret<S: Secrets + ?Sized>(secrets: Fresh<S>) {
    for _ in 0..2 {
        let value = secrets.reveal(&owner("ann"), &name("token")).await.unwrap();
        assert_eq!(value.expose(), b"s3cret of ann");
    }
}

/// A secret of somebody else, or of another name, is `NotFound`, and the error does not help to guess.
pub async fn nobody_gets_what_is_not_theirs<S: Secrets + ?Sized>(secrets: Fresh<S>) {
    for (who, what) in [("bob", "token"), ("Ann", "token"), ("ann", "Token"), ("ann", "token2")] {
        let result = secrets.reveal(&owner(who), &name(what)).await;
        expect_kind(result, ErrorKind::NotFound, "a secret that is not there");
    }
}

/// No value is in what the adapter prints of itself.
pub async fn nothing_shows_a_value<S: Secrets + ?Sized>(secrets: Fresh<S>) {
    let value = secrets.reveal(&owner("ann"), &name("token")).await.unwrap();
    for shown in [format!("{value:?}"), format!("{:?}", secrets.port())] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
