//! Refusals of a real server, and of what is none.

use crate::parts::{body, build, key, on_the_server};
use kiln::{Error, ErrorKind, Status, port::ArtifactStore};
use kiln_s3::{Credentials, S3Artifacts, S3Config};

/// What every call says.
async fn all(store: &S3Artifacts) -> Vec<Error> {
    vec![
        store.put(&key("x"), body("x")).await.unwrap_err(),
        store.get(&key("x")).await.err().unwrap(),
        store.list(&build("b")).await.unwrap_err(),
        store.forget(&build("b")).await.unwrap_err(),
        store.check().await.unwrap_err(),
    ]
}

fn told(e: &Error) -> String {
    format!("{e:?} {}", e.hint_text().unwrap_or_default())
}

#[test]
fn a_wrong_key_is_denied_and_not_repeated() {
    on_the_server("a_wrong_key_is_denied_and_not_repeated", async |place| {
        place.open().check().await.unwrap();
        let wrong = Credentials::new("nobody", "s3cret-of-nobody");
        for e in all(&S3Artifacts::new(&place.config, &wrong).unwrap()).await {
            assert_eq!(e.kind(), ErrorKind::Denied, "{e:?}");
            assert_eq!(e.retry_status(), Status::Permanent);
            assert!(told(&e).contains("access key"), "{}", told(&e));
            assert!(!told(&e).contains("s3cret"), "{}", told(&e));
        }
        let store = S3Artifacts::new(&place.config, &wrong).unwrap();
        assert!(!format!("{store:?}").contains("s3cret"), "{store:?}");
    });
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    on_the_server("a_bucket_that_is_not_there_is_named", async |mut place| {
        place.config.bucket = "never-made".into();
        let store = place.open();
        // Not a put: this server makes the bucket then, and says that there is no key to a get.
        let errors = [
            store.list(&build("b")).await.unwrap_err(),
            store.forget(&build("b")).await.unwrap_err(),
            store.check().await.unwrap_err(),
        ];
        for e in errors {
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
            assert!(told(&e).contains("bucket: never-made"), "{}", told(&e));
            assert!(told(&e).contains("Create the bucket"), "{}", told(&e));
        }
    });
}

#[test]
fn a_server_that_is_down_is_unavailable() {
    kiln_conformance::run("down", async {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!("s3://kiln?endpoint=http://{port}");
        let config = S3Config::parse(&config).unwrap();
        let store = S3Artifacts::new(&config, &Credentials::new("a", "b")).unwrap();
        for e in all(&store).await {
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
            assert_eq!(e.retry_status(), Status::Temporary);
            assert!(told(&e).contains("endpoint"), "{}", told(&e));
        }
    });
}
