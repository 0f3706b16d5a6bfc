use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::path::Path;

/// A store of a configuration, with the helpers of the tests.
struct Test {
    store: CredentialStore,
    _dir: tempfile::TempDir,
}

fn store(json: &str) -> Test {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), json).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helpers/docker-credential");
    for name in [
        "good", "hub", "unread", "token", "none", "silent", "empty", "leaky", "garbage", "endless",
        "stuck",
    ] {
        let link = dir.path().join(format!("docker-credential-{name}"));
        std::os::unix::fs::symlink(&program, link).unwrap();
    }
    let mut store = CredentialStore::new(Some(dir.path().into()));
    store.helpers_dir = Some(dir.path().into());
    Test { store, _dir: dir }
}

impl Test {
    async fn login(&self, registry: &str) -> Option<DockerCredentials> {
        self.store.login(registry).await.unwrap()
    }

    async fn user(&self, registry: &str) -> Option<String> {
        self.login(registry).await?.username
    }
}

fn auth(user: &str) -> String {
    format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:a?b>c")))
}

#[tokio::test]
async fn a_login_is_for_just_one_host() {
    let auth = auth("bob");
    let test = store(&format!(
        r#"{{"auths":{{"r.io:5000":{auth},"https://index.docker.io/v1/":{auth}}}}}"#
    ));
    assert_eq!(test.login("r.io:5000").await.unwrap().password.as_deref(), Some("a?b>c"));
    assert!(test.login("docker.io").await.is_some());
    for other in ["r.io", "evil-r.io:5000", "r.io:5000.evil.com", "io:5000", "index.docker.io.x"] {
        assert!(test.login(other).await.is_none(), "{other}");
    }
    assert_eq!(test.store.known().await.unwrap().len(), 2);
}

#[tokio::test]
async fn every_key_that_means_docker_hub_is_honoured() {
    for key in ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "https://docker.io"]
    {
        let plain = store(&format!(r#"{{"auths":{{"{key}":{}}}}}"#, auth("bob")));
        assert_eq!(plain.user("docker.io").await.as_deref(), Some("bob"), "{key}");
        let helped = store(&format!(r#"{{"credHelpers":{{"{key}":"good"}}}}"#));
        // As Docker's own command line asks.
        let user = helped.user("docker.io").await;
        assert_eq!(user.as_deref(), Some("of https://index.docker.io/v1/"), "{key}");
        assert_eq!(helped.user("r.io").await, None);
    }
    let odd = store(r#"{"credsStore":"hub"}"#);
    assert_eq!(odd.user("docker.io").await.as_deref(), Some("hub"));
}

#[tokio::test]
async fn keys_may_have_a_scheme_and_a_path_and_the_exact_one_is_first() {
    let all = |keys: &[(&str, &str)]| {
        let auths: Vec<_> =
            keys.iter().map(|(k, user)| format!("\"{k}\":{}", auth(user))).collect();
        store(&format!(r#"{{"auths":{{{}}}}}"#, auths.join(",")))
    };
    let test = all(&[("http://r.io:5000/v2/", "long"), ("https://S.io", "upper")]);
    assert_eq!(test.user("r.io:5000").await.as_deref(), Some("long"));
    assert_eq!(test.user("s.io").await.as_deref(), Some("upper"));
    assert_eq!(test.user("r.io").await, None);
    let test = all(&[("a.io/team", "part"), ("a.io", "exact"), ("https://a.io/v1/", "long")]);
    assert_eq!(test.user("a.io").await.as_deref(), Some("exact"));
}

#[tokio::test]
async fn helpers_come_in_the_order_of_docker() {
    let json = format!(
        r#"{{"auths":{{"file.io":{},"own.io":{},"empty.io":{{}},"null.io":null}},
            "credsStore":"none","credHelpers":{{"own.io":"good"}}}}"#,
        auth("file"),
        auth("stale")
    );
    let test = store(&json);
    assert_eq!(test.user("own.io").await.as_deref(), Some("of own.io"));
    assert_eq!(test.user("file.io").await.as_deref(), Some("file"));
    for nobody in ["empty.io", "null.io", "other.io"] {
        assert!(test.login(nobody).await.is_none(), "{nobody}");
    }
    let json = format!(r#"{{"auths":{{"r.io":{}}},"credsStore":"good"}}"#, auth("stale"));
    assert_eq!(store(&json).user("r.io").await.as_deref(), Some("of r.io"));
    // A helper that is broken does not take away what the file says.
    let json = format!(r#"{{"auths":{{"r.io":{}}},"credsStore":"gone"}}"#, auth("file"));
    assert_eq!(store(&json).user("r.io").await.as_deref(), Some("file"));
    // The key under which the login was made is asked for too.
    let json = r#"{"auths":{"https://docker.io":{}},"credsStore":"hub"}"#;
    assert_eq!(store(json).user("docker.io").await.as_deref(), Some("hub"));
    let nothing = store(r#"{"auths":null,"credsStore":"","credHelpers":null}"#);
    assert!(nothing.login("r.io").await.is_none());
}

#[tokio::test]
async fn tokens_come_as_tokens() {
    let identity = STANDARD.encode("00000000-0000-0000-0000-000000000000:");
    let test = store(&format!(
        r#"{{"auths":{{"a.io":{{"auth":"{identity}","identitytoken":"t0ken"}},
            "b.io":{{"registrytoken":"b3arer"}},"c.io":{{"username":"u","password":"p"}}}},
            "credHelpers":{{"d.io":"token"}}}}"#
    ));
    for (host, wanted) in [("a.io", "t0ken"), ("d.io", "t0ken")] {
        let login = test.login(host).await.unwrap();
        assert_eq!((login.identitytoken.as_deref(), &login.password), (Some(wanted), &None));
        assert_eq!(secrets_of(&login).count(), 1);
    }
    assert_eq!(test.login("b.io").await.unwrap().registrytoken.as_deref(), Some("b3arer"));
    assert_eq!(test.login("c.io").await.unwrap().password.as_deref(), Some("p"));
}

#[tokio::test]
async fn what_a_helper_says_is_taken_as_the_protocol_has_it() {
    for (helper, user) in
        [("unread", Some("unread")), ("none", None), ("silent", None), ("empty", None)]
    {
        let own = store(&format!(r#"{{"credHelpers":{{"r.io":"{helper}"}}}}"#));
        assert_eq!(own.user("r.io").await.as_deref(), user, "{helper}");
        let all = store(&format!(r#"{{"credsStore":"{helper}"}}"#));
        assert_eq!(all.user("r.io").await.as_deref(), user, "{helper}");
    }
}

#[tokio::test]
async fn a_helper_in_trouble_is_an_error_that_shows_nothing() {
    for helper in ["leaky", "garbage", "endless", "gone", "../good", ""] {
        let json = serde_json::json!({ "credHelpers": { "r.io": helper } });
        let test = store(&json.to_string());
        let e = test.store.login("r.io").await.unwrap_err();
        let shown = format!("{e:?} {:?}", e.hint_text());
        assert_eq!(e.kind(), ErrorKind::Unavailable, "{shown}");
        assert!(!shown.contains("s3cret") && shown.contains("docker-credential-"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_does_not_end_is_an_error() {
    for helper in ["stuck"] {
        let test = store(&format!(r#"{{"credHelpers":{{"r.io":"{helper}"}}}}"#));
        let e = test.store.login("r.io").await.unwrap_err();
        assert!(e.message().contains("within 20 s"), "{e:?}");
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_used_is_an_error_and_not_none() {
    let bytes = STANDARD.encode(b"bob:\xff\xfe");
    for broken in [bytes.as_str(), "!!!", &STANDARD.encode("no colon"), &STANDARD.encode(":p")] {
        let test = store(&format!(r#"{{"auths":{{"r.io":{{"auth":"{broken}"}}}}}}"#));
        let e = test.store.login("r.io").await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{broken}");
        assert!(e.hint_text().is_some() && e.to_string().contains("r.io"), "{e:?}");
        assert!(!format!("{e:?}").contains(broken), "{e:?}");
    }
    let bytes = Credentials { username: "u".into(), password: Secret::new(vec![0xff]) };
    assert!(as_docker(&bytes, "r.io").is_err());
}

#[tokio::test]
async fn a_password_is_taken_as_it_is() {
    for password in ["{\"a\":1}", "a:b", "a\n", "ü", ""] {
        let auth = STANDARD.encode(format!("{{u:{password}"));
        let test = store(&format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#));
        let login = test.login("r.io").await.unwrap();
        assert_eq!(login.username.as_deref(), Some("{u"));
        assert_eq!(login.password.as_deref(), Some(password));
    }
}

#[tokio::test]
async fn a_broken_file_is_named_with_its_place_and_no_content() {
    let test = store("{\n \"auths\": {\"r\": {\"auth\": hunter2}}}");
    let e = test.store.login("r").await.unwrap_err();
    let text = format!("{e:?}");
    assert!(text.contains("line: 2") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn no_file_is_no_login() {
    assert!(CredentialStore::new(None).login("r.io").await.unwrap().is_none());
    let store = CredentialStore::new(Some("/nonexistent".into()));
    assert!(store.login("r.io").await.unwrap().is_none());
}
