//! Trees and `.gitmodules` as attackers have made them.

use super::{fetch, holds, is, open, refusal, repo::Repo, run};
use kiln::{ErrorKind, SourceSpec};
use std::fs;

/// Fetches a tree made by hand, with submodules.
async fn refused(entries: &[(&str, &[u8], &str)], repo: &Repo, part: &str) {
    let tree = repo.tree(entries);
    repo.commit_tree(&tree);
    let spec = SourceSpec { submodules: true, ..SourceSpec::new(repo.url()) };
    let e = refusal(open(), &spec).await;
    is(&e, ErrorKind::Invalid, part);
}

#[test]
fn names_that_lead_out_or_into_git_are_refused() {
    run("names_that_lead_out_or_into_git_are_refused", async {
        let repo = Repo::empty();
        let blob = repo.blob(b"x");
        let inner = repo.tree(&[("100644", b"config", &blob)]);
        for name in ["..", ".", ".GIT", ".git", "git~1", ".git ", ".g\u{200c}it", "a/b", ".git\\x"]
        {
            refused(&[("40000", name.as_bytes(), &inner)], &repo, "refused").await;
            refused(&[("100644", name.as_bytes(), &blob)], &repo, "refused").await;
            refused(&[("120000", name.as_bytes(), &blob)], &repo, "refused").await;
            refused(&[("160000", name.as_bytes(), &blob)], &repo, "refused").await;
        }
        refused(&[("120000", b".gitmodules", &blob)], &repo, "must not be a link").await;
        refused(&[("100644", b"same", &blob), ("100644", b"same", &blob)], &repo, "same as").await;
    });
}

#[test]
fn names_that_other_programs_misread_are_refused_by_name() {
    run("names_that_other_programs_misread_are_refused_by_name", async {
        let repo = Repo::empty();
        let blob = repo.blob(b"x");
        let long = "n".repeat(256);
        for (name, why, shown) in [
            ("Icon\r", "control character", r"Icon\r"),
            ("a\nb", "control character", r"a\nb"),
            ("\u{1b}[2J", "control character", r"\x1b[2J"),
            ("git~1", "take it for `.git`", "git~1"),
            (long.as_str(), "longer than 255 bytes", &long[..50]),
        ] {
            let inner = repo.tree(&[("100644", name.as_bytes(), &blob)]);
            repo.commit_tree(&repo.tree(&[("40000", b"dir", &inner)]));
            let e = refusal(open(), &SourceSpec::new(repo.url())).await;
            is(&e, ErrorKind::Invalid, why);
            is(&e, ErrorKind::Invalid, &format!("dir/{shown}"));
        }
        // 20 directories of 250 letters: no program can open that by its path.
        let mut tree = repo.tree(&[("100644", b"f", &blob)]);
        for _ in 0..20 {
            tree = repo.tree(&[("40000", &[b'd'; 250], &tree)]);
        }
        repo.commit_tree(&tree);
        let e = refusal(open(), &SourceSpec::new(repo.url())).await;
        is(&e, ErrorKind::Invalid, "longer than 4000 bytes");
    });
}

#[test]
fn names_that_differ_in_case_are_both_there_or_refused() {
    run("names_that_differ_in_case_are_both_there_or_refused", async {
        let repo = Repo::empty();
        let blob = repo.blob(b"x");
        let tree = repo.tree(&[("100644", b"README", &blob), ("100644", b"readme", &blob)]);
        repo.commit_tree(&tree);
        match fetch(open(), &SourceSpec::new(repo.url())).await {
            Ok((found, _)) => holds(&found, &[("README", "x"), ("readme", "x")]),
            Err(e) => is(&e, ErrorKind::Invalid, "the same as another one"),
        }
    });
}

#[test]
fn nothing_is_written_through_a_link() {
    run("nothing_is_written_through_a_link", async {
        let outside = tempfile::tempdir().unwrap();
        let repo = Repo::empty();
        let target = repo.blob(outside.path().to_str().unwrap().as_bytes());
        let blob = repo.blob(b"owned");
        let inner = repo.tree(&[("100755", b"hook", &blob)]);
        // A link and a directory of one name, in both orders.
        refused(&[("120000", b"a", &target), ("40000", b"a", &inner)], &repo, "same as").await;
        refused(&[("40000", b"a", &inner), ("120000", b"a", &target)], &repo, "same as").await;
        refused(&[("120000", b"a", &target), ("100644", b"a", &blob)], &repo, "same as").await;
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        // A link that leads out is kept as the link it is.
        let tree = repo.tree(&[("120000", b"out", &target), ("100644", b"z", &blob)]);
        repo.commit_tree(&tree);
        let (found, _) = fetch(open(), &SourceSpec::new(repo.url())).await.unwrap();
        let link = format!("-> {}", outside.path().display());
        holds(&found, &[("out", &link), ("z", "owned")]);
    });
}

/// CVE-2024-32002 and its like: a submodule below a directory that is also a link.
#[test]
fn no_submodule_is_written_through_a_link() {
    run("no_submodule_is_written_through_a_link", async {
        let leaf = Repo::small();
        let id = leaf.git(&["rev-parse", "HEAD"]);
        let outside = tempfile::tempdir().unwrap();
        let repo = Repo::empty();
        let target = repo.blob(outside.path().to_str().unwrap().as_bytes());
        let modules = format!("[submodule \"x\"]\npath = A/x\nurl = {}\n", leaf.url());
        let modules = repo.blob(modules.as_bytes());
        let inner = repo.tree(&[("160000", b"x", &id)]);
        let entries: [(&str, &[u8], &str); 3] = [
            ("100644", b".gitmodules", &modules),
            ("120000", b"A", &target),
            ("40000", b"A", &inner),
        ];
        refused(&entries, &repo, "same as").await;
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    });
}

#[test]
fn the_place_of_a_submodule_is_shown_without_harm() {
    run("the_place_of_a_submodule_is_shown_without_harm", async {
        let repo = Repo::empty();
        let link = "12".repeat(20);
        let tree = repo.tree(&[("160000", "a\u{202e}b\u{9b}2Jc".as_bytes(), &link)]);
        repo.commit_tree(&tree);
        let spec = SourceSpec { submodules: true, ..SourceSpec::new(repo.url()) };
        let e = refusal(open(), &spec).await;
        is(&e, ErrorKind::Invalid, "does not say where");
        assert!(!e.to_string().contains(['\u{202e}', '\u{9b}']), "{e:?}");
    });
}

/// CVE-2025-48384: git wrote a path with a carriage return at its end without quotes.
#[test]
fn control_characters_in_gitmodules_are_refused() {
    run("control_characters_in_gitmodules_are_refused", async {
        let leaf = Repo::small();
        let id = leaf.git(&["rev-parse", "HEAD"]);
        for (path, url) in [("\"sub\r\"", "u"), ("sub", "\"h\\nttp://x\""), ("sub", "\"a\u{1b}b\"")]
        {
            let repo = Repo::empty();
            let text = format!("[submodule \"sub\"]\n\tpath = {path}\n\turl = {url}\n");
            let modules = repo.blob(text.as_bytes());
            let entries: [(&str, &[u8], &str); 2] =
                [("100644", b".gitmodules", &modules), ("160000", b"sub", &id)];
            refused(&entries, &repo, "control character").await;
        }
    });
}

#[test]
fn nothing_of_a_repository_is_run() {
    run("nothing_of_a_repository_is_run", async {
        let proof = tempfile::tempdir().unwrap();
        let ran = proof.path().join("ran");
        let touch = format!("touch {}", ran.display());
        let repo = Repo::small();
        repo.write(".gitattributes", "* filter=evil diff=evil text eol=crlf\n").commit("two");
        for hook in ["post-checkout", "pre-receive", "reference-transaction", "post-index-change"] {
            let path = repo.bare().join("hooks").join(hook);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\n{touch}\n")).unwrap();
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for key in [
            "filter.evil.smudge",
            "filter.evil.process",
            "core.fsmonitor",
            "core.sshCommand",
            "core.pager",
        ] {
            repo.git(&["config", key, &touch]);
        }
        for keep_git in [false, true] {
            let config = kiln_git::GitConfig { keep_git, ..open() };
            let (found, _) = fetch(config, &SourceSpec::new(repo.url())).await.unwrap();
            assert_eq!(found["sub/run.sh"], "x:#!/bin/sh\n");
        }
        assert!(!ran.exists());
    });
}

#[test]
fn a_bomb_of_directories_is_defused() {
    run("a_bomb_of_directories_is_defused", async {
        let repo = Repo::empty();
        let mut tree = repo.tree(&[("100644", b"f", &repo.blob(b"boom"))]);
        for _ in 0..10 {
            let names: Vec<String> = (0..10).map(|i| format!("d{i}")).collect();
            let entries: Vec<_> =
                names.iter().map(|n| ("40000", n.as_bytes(), tree.as_str())).collect();
            tree = repo.tree(&entries);
        }
        repo.commit_tree(&tree);
        let config = kiln_git::GitConfig { files_max: 2000, ..open() };
        let e = refusal(config, &SourceSpec::new(repo.url())).await;
        is(&e, ErrorKind::Exhausted, "too many files");
    });
}
