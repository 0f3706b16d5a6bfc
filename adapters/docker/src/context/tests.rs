//! Which files of a directory are sent.

use super::*;

fn names(root: &Path) -> Vec<String> {
    let files = Files::of(root, None, u64::MAX, &CancelToken::new()).unwrap();
    files.entries.iter().map(|e| e.path.display().to_string()).collect()
}

#[tokio::test]
async fn the_archive_holds_what_is_not_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let at = |p: &str| dir.path().join(p);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::create_dir_all(at("out")).unwrap();
    for (name, text) in
        [("a/b/x.txt", "x"), ("a/y.log", "y"), ("out/z", "z"), ("Dockerfile", "FROM scratch")]
    {
        fs::write(at(name), text).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
    fs::write(at(".dockerignore"), "out\n**/*.log\nDockerfile\n").unwrap();
    assert_eq!(names(dir.path()), [".dockerignore", "Dockerfile", "a", "a/b", "a/b/x.txt", "link"]);
    let files = Files::of(dir.path(), None, u64::MAX, &CancelToken::new()).unwrap();
    let mut from = files.stream(CancelToken::new(), |_| {});
    let mut bytes = Vec::new();
    while let Some(piece) = from.recv().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    let mut archive = tar::Archive::new(bytes.as_slice());
    let links: Vec<_> = archive
        .entries()
        .unwrap()
        .filter_map(|e| e.unwrap().link_name().unwrap().map(|l| l.display().to_string()))
        .collect();
    assert_eq!(links, ["/etc/passwd"]);
}

#[test]
fn only_what_patterns_name_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/out")).unwrap();
    for name in ["a/out/x", "a/y.log", "b.log", ".dockerignore"] {
        fs::write(dir.path().join(name), "a\n*\n").unwrap();
    }
    let patterns = ".dockerignore\n**/out\n*.log\n";
    let files = Files::but(dir.path(), patterns, u64::MAX, &CancelToken::new()).unwrap();
    let names: Vec<_> = files.entries.iter().map(|e| e.path.display().to_string()).collect();
    assert_eq!(names, ["a", "a/y.log"]);
    assert!(Files::but(dir.path(), "[", u64::MAX, &CancelToken::new()).is_err());
}

#[test]
fn a_limit_names_the_largest_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big"), vec![0; 5000]).unwrap();
    let e = Files::of(dir.path(), None, 4000, &CancelToken::new()).unwrap_err();
    assert!(e.to_string().contains("big (5000 bytes)"), "{e}");
}

#[test]
fn a_context_that_is_sent_elsewhere_keeps_its_rules() {
    let dir = tempfile::tempdir().unwrap();
    let own = "Dockerfile.dockerignore";
    fs::write(dir.path().join("Dockerfile"), "FROM scratch").unwrap();
    let names = |files: &Files| files.entries.iter().filter(|e| e.path == Path::new(own)).count();
    let read = || {
        let mut files =
            Files::of(dir.path(), Some("Dockerfile"), u64::MAX, &CancelToken::new()).unwrap();
        files.keep_own_ignore("Dockerfile");
        names(&files)
    };
    assert_eq!(read(), 0, "there is none");
    fs::write(dir.path().join(own), "*.log\n").unwrap();
    assert_eq!(read(), 1);
    fs::write(dir.path().join(own), "*\n").unwrap();
    assert_eq!(read(), 1, "it leaves itself out");
}

#[test]
fn a_name_never_leads_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
    assert_eq!(name_inside(dir.path(), Path::new("f")).as_deref(), Some("f"));
    assert_eq!(name_inside(dir.path(), Path::new("out")), None);
    assert_eq!(name_inside(dir.path(), Path::new("../x")), None);
}

#[tokio::test]
async fn nobody_listening_ends_the_thread() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big"), vec![0; 10 << 20]).unwrap();
    let files = Files::of(dir.path(), None, u64::MAX, &CancelToken::new()).unwrap();
    drop(files.stream(CancelToken::new(), |_| {}));
}
