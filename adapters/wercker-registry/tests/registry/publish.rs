//! Publishing steps.

use crate::server::{Answer, Request, Server};
use kiln::{ErrorKind, Secret};
use kiln_wercker_registry::{PUBLISH_MAX, Publish};
use serde_json::{Value, json};

fn step() -> Publish {
    Publish {
        owner: "termie".into(),
        manifest: "name: x\nversion: 1.0.0\n".into(),
        tarball: "abc".into(),
        private: true,
    }
}

fn judge(upload: &'static str, put: u16) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |r| match r.line.as_str() {
        "POST /api/publish" => {
            let body = json!({ "uploadUrl": upload, "token": "t1", "expires": "2026-01-01" });
            Answer::Status(200, body.to_string())
        }
        "PUT /files/x?sig=hunter2" => Answer::Status(put, String::new()),
        "POST /api/publish/done" => Answer::Status(200, String::new()),
        _ => Answer::Status(404, String::new()),
    }
}

#[tokio::test]
async fn a_step_is_announced_sent_and_confirmed() {
    let server = Server::start(judge("/files/x?sig=hunter2", 200)).await;
    let registry = server.registry().token(Secret::new("t0ken"));
    registry.publish(&step()).await.unwrap();
    let expected = ["POST /api/publish", "PUT /files/x?sig=hunter2", "POST /api/publish/done"];
    assert_eq!(server.lines(), expected);
    let requests = server.requests();
    let json = |n: usize| serde_json::from_slice::<Value>(&requests[n].body).unwrap();
    let announced = json!({
        "checksum": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "size": 3,
        "manifest": "name: x\nversion: 1.0.0\n",
        "username": "termie",
        "private": true,
    });
    assert_eq!(json(0), announced);
    assert_eq!(requests[1].body, b"abc");
    assert_eq!(json(2), json!({ "token": "t1" }));
    let token = |n: usize| requests[n].headers.get("authorization").cloned();
    let bearer = Some("Bearer t0ken".to_owned());
    assert_eq!([token(0), token(1), token(2)], [bearer.clone(), None, bearer]);
}

#[tokio::test]
async fn what_cannot_be_published_says_why_and_no_secret() {
    let server = Server::start(judge("/files/x?sig=hunter2", 403)).await;
    let registry = server.registry().token(Secret::new("t0ken"));
    let error = registry.publish(&step()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(server.lines().len(), 2, "nobody says that it is done");

    let error = server.registry().publish(&step()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "without a token");
    for tarball in [0, PUBLISH_MAX + 1] {
        let step = Publish { tarball: vec![0; tarball].into(), ..step() };
        let error = registry.publish(&step).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{tarball}");
    }
    for upload in ["file:///tmp/x", "ftp://files.test/x", "http://u:p@127.0.0.1/x"] {
        let server = Server::start(judge(upload, 200)).await;
        let registry = server.registry().token(Secret::new("t0ken"));
        let error = registry.publish(&step()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{upload}");
        assert_eq!(server.lines().len(), 1, "{upload}");
    }
    let server = Server::start(|_| Answer::Status(409, String::new())).await;
    let registry = server.registry().token(Secret::new("t0ken"));
    let error = registry.publish(&step()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}
