use super::ImageRef;
use proptest::prelude::*;

#[track_caller]
fn check(text: &str, registry: &str, path: &str, tag: Option<&str>) {
    let image = ImageRef::parse(text).unwrap();
    assert_eq!((image.registry(), image.repository(), image.tag()), (registry, path, tag));
    assert_eq!(ImageRef::parse(&image.to_string()).unwrap(), image);
}

#[test]
fn names_are_taken_apart_as_docker_does() {
    check("busybox", "docker.io", "library/busybox", None);
    check("busybox:1.36", "docker.io", "library/busybox", Some("1.36"));
    check("docker.io/busybox", "docker.io", "library/busybox", None);
    check("index.docker.io/library/busybox", "docker.io", "library/busybox", None);
    check("caicloud/cyclone", "docker.io", "caicloud/cyclone", None);
    check("localhost/x", "localhost", "x", None);
    check("localhost:5000/a/b/c:t", "localhost:5000", "a/b/c", Some("t"));
    check("localhost:5000", "docker.io", "library/localhost", Some("5000"));
    check("[::1]:5000/a", "[::1]:5000", "a", None);
    check("[fc00::1]/a", "[fc00::1]", "a", None);
    check("Registry/a", "Registry", "a", None);
    check("r.io/a__b/c--d/e.f_g", "r.io", "a__b/c--d/e.f_g", None);
    check("containerops.me/cts/example", "containerops.me", "cts/example", None);
    check("xn--n3h.com/a:_-.", "xn--n3h.com", "a", Some("_-."));
    check(&format!("a:{}", "t".repeat(128)), "docker.io", "library/a", Some(&"t".repeat(128)));
    check(&"a".repeat(63), "docker.io", &format!("library/{}", "a".repeat(63)), None);
}

#[test]
fn forms_are_told_apart() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let image = ImageRef::parse(&format!("r.io/a:t@{digest}")).unwrap();
    assert_eq!(image.to_string(), format!("r.io/a:t@{digest}"));
    assert_eq!(image.digest().unwrap().as_str(), digest);
    assert_eq!(image.with_tag("u").unwrap().to_string(), "r.io/a:u");
    assert_eq!(image.without_tag().canonical(), "r.io/a:latest");
    let hub = ImageRef::parse("docker.io/library/a").unwrap();
    assert_eq!(
        (hub.to_string(), hub.canonical()),
        ("a".into(), "docker.io/library/a:latest".into())
    );
    assert!(hub.with_tag("a b").is_err());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (bad, at, suggestion) in [
        ("", 0, None),
        ("Foo", 0, Some("foo")),
        ("localhost:5000/Ab/c:T", 15, Some("localhost:5000/ab/c:T")),
        ("https://r.io/a", 0, Some("r.io/a")),
        ("a:", 2, Some("a")),
        ("a: b", 2, Some("a:b")),
        ("a:b:c", 3, None),
        ("a//b", 2, None),
        ("/a", 0, None),
        ("a/", 2, None),
        ("-a", 0, None),
        ("a-", 1, None),
        ("a..b", 1, None),
        ("a___b", 1, None),
        ("a@sha256:1", 2, None),
        ("a:.t", 2, None),
        ("r.io:x/a", 5, None),
        ("-r.io/a", 0, None),
        ("[::1/a", 0, None),
        ("aü", 1, None),
    ] {
        let e = ImageRef::parse(bad).unwrap_err();
        assert_eq!((e.at, e.suggestion.as_deref()), (at, suggestion), "{bad}: {e}");
    }
    assert!(ImageRef::parse(&"a".repeat(64)).is_err());
    assert!(ImageRef::parse(&format!("r.io/{}", "a".repeat(256))).is_err());
    assert!(ImageRef::parse(&format!("r.io/{}", "a".repeat(255))).is_ok());
}

#[test]
fn the_odd_cases_of_the_distribution_project() {
    check("test_com", "docker.io", "library/test_com", None);
    check("test.com:tag", "docker.io", "library/test.com", Some("tag"));
    check("test.com/repo:tag", "test.com", "repo", Some("tag"));
    check("test:5000/repo:tag", "test:5000", "repo", Some("tag"));
    check("lowercase:Uppercase", "docker.io", "library/lowercase", Some("Uppercase"));
    check("Uppercase/lowercase:tag", "Uppercase", "lowercase", Some("tag"));
    check("b.gcr.io/test.example.com/my-app:x", "b.gcr.io", "test.example.com/my-app", Some("x"));
    check("foo_bar.com:8080", "docker.io", "library/foo_bar.com", Some("8080"));
    check("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", Some("8080"));
    check("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", Some("5050"));
    check("192.168.1.1", "docker.io", "library/192.168.1.1", None);
    check("[2001:db8::]:5000/repo", "[2001:db8::]:5000", "repo", None);
    check("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", Some("tag"));
    let deep = format!("{}a", "a/".repeat(127));
    check(&format!("{deep}:puts-this-over-max"), "docker.io", &deep, Some("puts-this-over-max"));
    for bad in [
        ":justtag",
        "repo@sha256:ffffffffffffffffffffffffffffffffff",
        "Uppercase:tag",
        "test:5000/Uppercase/lowercase:tag",
        "aa/asdf$$^/aa",
        "[2001:db8::1]",
        "[2001:db8::1]:5000",
        "[fe80::1%eth0]:5000/repo",
        "foo_bar.com:8080/repo",
        "a.-b/c",
        "a/b@",
    ] {
        assert!(ImageRef::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_short_form_is_never_another_name() {
    let hex = "0123456789abcdef".repeat(4);
    check("docker.io/a.b/c", "docker.io", "a.b/c", None);
    check("docker.io/localhost/c", "docker.io", "localhost/c", None);
    check("docker.io/library/a/b", "docker.io", "library/a/b", None);
    check(&format!("docker.io/{hex}"), "docker.io", &format!("library/{hex}"), None);
    check(&format!("{hex}:t"), "docker.io", &format!("library/{hex}"), Some("t"));
    assert_eq!(ImageRef::parse("docker.io/a.b/c").unwrap().to_string(), "docker.io/a.b/c");
}

#[test]
fn an_error_is_one_line_without_logins() {
    let e = ImageRef::parse("https://bob:pass@r.io/Team/App").unwrap_err();
    assert_eq!(
        (e.text.as_str(), &e.suggestion),
        ("https://r.io/Team/App", &Some("r.io/team/app".into()))
    );
    let e = ImageRef::parse("https://bob:pass@r.io/app/").unwrap_err();
    assert!(!format!("{e} {e:?}").contains("pass"), "{e:?}");
    assert_eq!(e.suggestion.as_deref(), Some("r.io/app"));
    let e = ImageRef::parse("App:1").unwrap_err().to_string();
    assert_eq!(
        e,
        "`App:1` is not the name of an image: it has an upper-case letter; did you mean `app:1`?"
    );
    let e = ImageRef::parse("a/ü\n\u{1b}[2J").unwrap_err().to_string();
    assert!(e.contains("(at character 4)") && !e.contains(['\n', '\u{1b}']), "{e}");
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_comes_back(text in "[a-zA-Z0-9./:@_\\[\\]ü -]{0,40}") {
        if let Ok(image) = ImageRef::parse(&text) {
            prop_assert_eq!(&ImageRef::parse(&image.to_string()).unwrap(), &image);
            let long = ImageRef::parse(&image.canonical()).unwrap();
            prop_assert_eq!(long.repository(), image.repository());
        }
    }

    #[test]
    fn every_text_is_answered(text in "\\PC*") {
        let _ = ImageRef::parse(&text);
    }
}

#[test]
fn the_place_of_an_error_is_never_inside_a_character() {
    let text = format!("app:{}\u{830c}", "t".repeat(127));
    let error = ImageRef::parse(&text).unwrap_err();
    assert_eq!(error.at, 4 + 127);
}
