use super::{fetch, files, holds, is, open, refusal, repo::Repo, resolve, run, step};
use kiln::{ErrorKind, RelPath, Revision, SourceSpec, port::Source};
use kiln_git::{GitConfig, GitSource};
use std::fs;

const SMALL: [(&str, &str); 4] = [
    ("Dockerfile", "FROM scratch\n"),
    ("link", "-> sub/run.sh"),
    ("sub", "dir"),
    ("sub/run.sh", "x:#!/bin/sh\n"),
];

#[test]
fn a_path_is_fetched_whole() {
    run("a_path_is_fetched_whole", async {
        let repo = Repo::small();
        for url in [repo.url(), format!("file://{}", repo.url()), format!("{}/.git", repo.url())] {
            let (found, log) = fetch(open(), &SourceSpec::new(&url)).await.unwrap();
            holds(&found, &SMALL);
            assert!(log.contains("Wrote 3 files"), "{log}");
        }
    });
}

#[test]
fn a_directory_alone_is_fetched() {
    run("a_directory_alone_is_fetched", async {
        let repo = Repo::small();
        let mut spec = SourceSpec::new(repo.url());
        spec.subdir = RelPath::new("sub").unwrap();
        holds(&fetch(open(), &spec).await.unwrap().0, &[("run.sh", "x:#!/bin/sh\n")]);
        let spec = SourceSpec::new(format!("{}#main:sub", repo.url()));
        holds(&fetch(open(), &spec).await.unwrap().0, &[("run.sh", "x:#!/bin/sh\n")]);
        let spec = |dir: &str| SourceSpec::new(format!("{}#:{dir}", repo.url()));
        is(&refusal(open(), &spec("nope")).await, ErrorKind::NotFound, "no such directory");
        is(&refusal(open(), &spec("Dockerfile")).await, ErrorKind::Invalid, "is a file");
        is(&refusal(open(), &spec("link")).await, ErrorKind::Invalid, "symbolic link");
        is(&refusal(open(), &spec("../x")).await, ErrorKind::Invalid, "not a path inside");
    });
}

#[test]
fn names_are_resolved_as_git_does() {
    run("names_are_resolved_as_git_does", async {
        let repo = Repo::small();
        let first = repo.git(&["rev-parse", "HEAD"]);
        repo.git(&["tag", "-a", "v1", "-m", "annotated"]);
        repo.git(&["tag", "light"]);
        repo.git(&["update-ref", "refs/pull/1/head", &first]);
        repo.git(&["checkout", "-qb", "feature/x"]);
        let second = repo.write("new", "2").commit("two");
        repo.git(&["checkout", "-q", "main"]);
        let cases = [
            (None, &first, Some("refs/heads/main")),
            (Some("HEAD"), &first, Some("refs/heads/main")),
            (Some("v1"), &first, Some("refs/tags/v1")),
            (Some("light"), &first, Some("refs/tags/light")),
            (Some("refs/pull/1/head"), &first, Some("refs/pull/1/head")),
            (Some("feature/x"), &second, Some("refs/heads/feature/x")),
            (Some(&second[..9]), &second, None),
            (Some(second.as_str()), &second, None),
        ];
        for (wanted, id, reference) in cases {
            let mut spec = SourceSpec::new(repo.url());
            spec.reference = wanted.map(Into::into);
            let expected = Revision { id: id.clone(), reference: reference.map(Into::into) };
            assert_eq!(resolve(open(), &spec).await.unwrap(), expected, "{wanted:?}");
        }
        // A commit that no reference points to is found by its beginning where all are at hand.
        repo.git(&["branch", "-qD", "feature/x"]);
        let spec = SourceSpec::new(repo.url()).reference(&second[..9]);
        assert_eq!(resolve(open(), &spec).await.unwrap().id, second);
        let e = resolve(open(), &SourceSpec::new(repo.url()).reference("mian")).await.unwrap_err();
        is(&e, ErrorKind::NotFound, "no such branch, tag or commit");
        assert!(e.hint_text().unwrap().contains("main"), "{e:?}");
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    run("what_is_not_there_is_not_found", async {
        let e = refusal(open(), &SourceSpec::new("/no/such/place")).await;
        is(&e, ErrorKind::NotFound, "no such directory");
        let empty = Repo::empty();
        is(&refusal(open(), &SourceSpec::new(empty.url())).await, ErrorKind::NotFound, "is empty");
        let repo = Repo::small();
        let spec =
            SourceSpec::new(repo.url()).reference("0123456789012345678901234567890123456789");
        let e = refusal(open(), &spec).await;
        is(&e, ErrorKind::NotFound, "0123456789");
        let plain = tempfile::tempdir().unwrap();
        let e = refusal(open(), &SourceSpec::new(plain.path().to_str().unwrap())).await;
        assert_eq!(e.kind(), ErrorKind::NotFound, "{e:?}");
    });
}

#[test]
fn fetching_again_replaces_what_is_there() {
    run("fetching_again_replaces_what_is_there", async {
        let repo = Repo::small();
        let (step, workspace) = step();
        let (source, spec) = (GitSource::new(open()), SourceSpec::new(repo.url()));
        let revision = source.resolve(&step, &spec).await.unwrap();
        let into = workspace.path().join("a/b");
        fs::create_dir_all(into.join("half")).unwrap();
        fs::create_dir(workspace.path().join(".kiln-git-2-0")).unwrap();
        fs::create_dir(workspace.path().join(".kiln-git-20-1")).unwrap();
        for _ in 0..2 {
            source.fetch(&step, &spec, &revision, &into).await.unwrap();
            holds(&files(&into), &SMALL);
        }
        // Into the workspace itself: what is there goes, but not what other steps work in.
        source.fetch(&step, &spec, &revision, workspace.path()).await.unwrap();
        let mut expected = SMALL.to_vec();
        expected.push((".kiln-git-20-1", "dir"));
        holds(&files(workspace.path()), &expected);
    });
}

#[test]
fn no_link_in_the_workspace_leads_a_fetch_out() {
    run("no_link_in_the_workspace_leads_a_fetch_out", async {
        let repo = Repo::small();
        let (step, workspace) = step();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), workspace.path().join("out")).unwrap();
        let (source, spec) = (GitSource::new(open()), SourceSpec::new(repo.url()));
        let revision = source.resolve(&step, &spec).await.unwrap();
        let e = source.fetch(&step, &spec, &revision, &step.path("out/x")).await.unwrap_err();
        is(&e, ErrorKind::Denied, "not made of directories");
        // The link itself is replaced, and where it led stays as it was.
        source.fetch(&step, &spec, &revision, &step.path("out")).await.unwrap();
        holds(&files(&step.path("out")), &SMALL);
        holds(&files(outside.path()), &[]);
    });
}

#[test]
fn git_is_kept_only_where_asked() {
    run("git_is_kept_only_where_asked", async {
        let repo = Repo::small();
        let (step, workspace) = step();
        let source = GitSource::new(GitConfig { keep_git: true, ..open() });
        let spec = SourceSpec::new(repo.url());
        let revision = source.resolve(&step, &spec).await.unwrap();
        source.fetch(&step, &spec, &revision, &step.path("src")).await.unwrap();
        let git = |arguments: &[&str]| {
            let out =
                super::repo::git(&workspace.path().join("src")).args(arguments).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(git(&["status", "--porcelain"]), "");
        assert_eq!(git(&["rev-parse", "HEAD"]), revision.id);
        assert_eq!(git(&["remote", "get-url", "origin"]), repo.url());
    });
}

#[test]
fn lfs_pointers_stay_and_are_told() {
    run("lfs_pointers_stay_and_are_told", async {
        let repo = Repo::empty();
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        repo.write("big.bin", pointer).write(".gitattributes", "*.bin filter=lfs\n").commit("one");
        let (found, log) = fetch(open(), &SourceSpec::new(repo.url())).await.unwrap();
        assert_eq!(found["big.bin"], pointer);
        assert_eq!(log.matches("LFS").count(), 1, "{log}");
        assert!(log.contains("warning: Git LFS is not supported"), "{log}");
    });
}

#[test]
fn limits_end_a_fetch() {
    run("limits_end_a_fetch", async {
        let repo = Repo::small();
        let spec = SourceSpec::new(repo.url());
        let few = GitConfig { files_max: 3, ..open() };
        is(&refusal(few, &spec).await, ErrorKind::Exhausted, "too many files");
        let small = GitConfig { written_max: 20, ..open() };
        is(&refusal(small, &spec).await, ErrorKind::Exhausted, "too large");
        let enough = GitConfig { files_max: 4, written_max: 23, ..open() };
        fetch(enough, &spec).await.unwrap();
    });
}
