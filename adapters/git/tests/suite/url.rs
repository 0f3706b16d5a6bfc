use kiln_git::url::{GitUrl, Scheme, UrlError, is_git_url, parse};
use proptest::prelude::*;

#[track_caller]
fn reads(text: &str, scheme: Scheme, host: &str, path: &str) -> GitUrl {
    let url = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!((url.scheme(), url.host(), url.path()), (scheme, host, path), "{text}");
    assert_eq!(parse(&url.to_string()).as_ref(), Ok(&url), "{text} is written as {url}");
    url
}

#[test]
fn every_form_is_read() {
    use Scheme::{Http, Https, Path, Ssh};
    reads("https://github.com/a/b.git", Https, "github.com", "/a/b.git");
    reads("HTTPS://GitHub.com:443/a/b/", Https, "github.com", "/a/b");
    reads("http://h:8080/r", Http, "h", "/r");
    reads("github.com/a/b", Https, "github.com", "/a/b");
    reads("https://org@dev.azure.com/org/p/_git/r", Https, "dev.azure.com", "/org/p/_git/r");
    reads("git@github.com:a/b.git", Ssh, "github.com", "a/b.git");
    reads("git@h:/abs/b.git", Ssh, "h", "/abs/b.git");
    reads("git@[::1]:a", Ssh, "[::1]", "a");
    reads("ssh://git@h:2222/a%20b", Ssh, "h", "/a b");
    reads("ssh://h/~user/a", Ssh, "h", "~user/a");
    reads("git@h:/~/a", Ssh, "h", "~/a");
    reads("git+ssh://h/a", Ssh, "h", "/a");
    reads("/srv/git/a", Path, "", "/srv/git/a");
    reads("./a", Path, "", "./a");
    reads("../a", Path, "", "../a");
    reads("file:///srv/a%23b", Path, "", "/srv/a#b");
    reads("file://localhost/srv/a", Path, "", "/srv/a");
    assert_eq!(parse("ssh://git@h:2222/a").unwrap().port(), 2222);
    assert_eq!(parse("http://0x7f.1/a").unwrap().host(), "127.0.0.1");
}

#[test]
fn what_follows_the_hash_is_read_as_docker_does() {
    let cases = [
        ("https://h/r.git", None, ""),
        ("https://h/r.git#", None, ""),
        ("https://h/r.git#main", Some("main"), ""),
        ("https://h/r.git#v1.0:dir/sub", Some("v1.0"), "dir/sub"),
        ("https://h/r.git#:dir", None, "dir"),
        ("git@h:r.git#refs/pull/1/head:d", Some("refs/pull/1/head"), "d"),
        ("/srv/r#main:/dir/", Some("main"), "dir"),
    ];
    for (text, reference, subdir) in cases {
        let url = parse(text).unwrap();
        assert_eq!((url.reference(), url.subdir().as_str()), (reference, subdir), "{text}");
        assert_eq!(parse(&url.to_string()), Ok(url), "{text}");
    }
    for bad in ["https://h/r#:../x", "https://h/r#:a/../../b", "/srv/r#main:.."] {
        assert_eq!(parse(bad), Err(UrlError::Subdir), "{bad}");
    }
}

#[test]
fn what_could_do_harm_is_refused() {
    for bad in ["ext::sh -c x", "fd::17", "transport::https://h/r", "a+b::c"] {
        assert_eq!(parse(bad), Err(UrlError::Helper), "{bad}");
    }
    let options = [
        "-oProxyCommand=x",
        "--upload-pack=x",
        "ssh://-oProxyCommand=x/r",
        "git@-oProxy:r",
        "-x@h:r",
        "git@h:-r",
        "ssh://-x@h/r",
        "https://h/r#--upload-pack=x",
    ];
    for bad in options {
        assert!(matches!(parse(bad), Err(UrlError::Option(_))), "{bad}: {:?}", parse(bad));
    }
    for bad in [
        "https://h/a\nb",
        "https://h/a\tb",
        "git@h:a\0",
        "/a\x1b[0m",
        "file:///a%0ab",
        "/a\u{202e}",
    ] {
        assert_eq!(parse(bad), Err(UrlError::Control), "{bad:?}");
    }
    let secrets = [
        "https://u:hunter2@h/r",
        "https://:hunter2@h/r",
        "ssh://u:hunter2@h/r",
        "https://ghp_hunter2@h/r",
        "http://glpat-hunter2@h/r",
        "https://0123456789abcdef0123456789hunter2@h/r",
    ];
    for bad in secrets {
        let e = parse(bad).unwrap_err();
        assert_eq!(e, UrlError::Password, "{bad}");
        assert!(!format!("{e} {e:?}").contains("hunter2"));
    }
    for bad in ["git://h/r", "ftp://h/r", "svn://h/r", "javascript://h/r"] {
        assert!(matches!(parse(bad), Err(UrlError::Scheme(_))), "{bad}");
    }
    let others = [
        "",
        "name",
        "https://",
        "https:///r",
        "https://h",
        "https://h/",
        "https://h/r?x=1",
        "file://host/r",
        "file:///a%2",
        "ssh://h",
        "ssh://h:99999/r",
        "ssh://h:0/r",
        "git@:r",
        "git@h:",
        "u:p@h:r",
        "~/r",
        "https://h/r#a..b",
        "https://h/r#a b",
        &"/".repeat(5000),
    ];
    for bad in others {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_context_is_a_repository_as_docker_decides() {
    let yes = [
        "https://h/r.git",
        "http://h/r.git#main",
        "https://h/r#main",
        "git@h:r",
        "git://h/r",
        "github.com/a/b",
        "ssh://git@h/r",
        "me@h:r.git",
        "file:///srv/r",
        "HTTPS://h/r.git",
    ];
    for text in yes {
        assert!(is_git_url(text), "{text}");
    }
    let no = [
        "https://h/r",
        "https://h/x.tar.gz",
        ".",
        "./git@h",
        "/srv/r.git",
        "r.git",
        "-",
        "",
        "github.community/x",
        "ghcr.io/a/b",
        "dir/with@at:colon",
        "ü",
        "gitüüüüüüüüü",
    ];
    for text in no {
        assert!(!is_git_url(text), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_read_is_written_so_that_it_is_read_again(
        start in "(https?://|ssh://|git@|file://|/|\\./|github.com/|)",
        rest in "([a-z.:/@#%~\\[\\]-]|%20|%23|\\PC){0,24}",
    ) {
        let text = format!("{start}{rest}");
        is_git_url(&text);
        if let Ok(url) = parse(&text) {
            let written = url.to_string();
            prop_assert_eq!(parse(&written), Ok(url.clone()), "{} is written as {}", text, written);
            prop_assert!(!url.host().starts_with('-') && !url.path().starts_with('-'));
            prop_assert!(!written.chars().any(char::is_control));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*|.*|[ -~]{0,40}") {
        let _ = (parse(&text), is_git_url(&text));
    }
}

#[test]
fn what_is_shown_of_an_address_can_be_read_again() {
    // Quotes are shown as three characters each.
    let long = |quotes: usize| format!("https://git.test/{}", "\"".repeat(quotes));
    let url = parse(&long(1_300)).unwrap();
    assert_eq!(parse(&url.to_string()).unwrap(), url);
    assert!(parse(&long(1_400)).is_err());
}
