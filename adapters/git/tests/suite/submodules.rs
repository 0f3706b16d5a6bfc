use super::{
    fetch, holds, is, open, refusal,
    repo::Repo,
    run,
    server::{Rules, Server},
};
use kiln::{ErrorKind, SourceSpec};
use kiln_git::GitConfig;

/// A repository with submodules: path, URL and commit.
pub(crate) fn parent(modules: &[(&str, &str, &str)]) -> Repo {
    let repo = Repo::empty();
    let mut text = String::new();
    for (path, url, commit) in modules {
        text += &format!(
            "[submodule \"../../{path}\"]\n\tpath = {path}\n\turl = {url}\n\tupdate = !false\n"
        );
        repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    }
    repo.write(".gitmodules", &text).git(&["add", ".gitmodules"]);
    repo.git(&["commit", "-qm", "with submodules"]);
    repo
}

fn with(url: impl Into<String>) -> SourceSpec {
    SourceSpec { submodules: true, ..SourceSpec::new(url) }
}

fn head(repo: &Repo) -> String {
    repo.git(&["rev-parse", "HEAD"])
}

#[test]
fn submodules_are_fetched_only_where_asked() {
    run("submodules_are_fetched_only_where_asked", async {
        let leaf = Repo::small();
        let middle = parent(&[("leaf", "../leaf.git", &head(&leaf))]);
        let top = parent(&[("lib/middle", "./../middle.git", &head(&middle))]);
        let mut rules = Rules::serve("leaf.git", leaf.bare());
        rules.repositories.insert("middle.git".into(), middle.bare());
        rules.repositories.insert("top.git".into(), top.bare());
        let server = Server::start(rules).await;
        let (found, _) = fetch(open(), &with(server.url("top.git"))).await.unwrap();
        assert_eq!(found["lib/middle/leaf/link"], "-> sub/run.sh");
        assert_eq!(found["lib/middle/leaf/sub/run.sh"], "x:#!/bin/sh\n");
        assert!(!found.keys().any(|k| k.ends_with(".git")), "{found:?}");
        let (found, _) = fetch(open(), &SourceSpec::new(server.url("top.git"))).await.unwrap();
        assert_eq!(found.get("lib/middle").map(String::as_str), Some("dir"));
        assert!(!found.contains_key("lib/middle/leaf"));
    });
}

#[test]
fn submodules_beside_a_path_are_found() {
    run("submodules_beside_a_path_are_found", async {
        let leaf = Repo::small();
        let name = leaf.path().file_name().unwrap().to_str().unwrap();
        let top = parent(&[("leaf", &format!("../{name}"), &head(&leaf))]);
        let (found, _) = fetch(open(), &with(top.url())).await.unwrap();
        assert_eq!(found["leaf/Dockerfile"], "FROM scratch\n");
    });
}

#[test]
fn a_submodule_is_under_the_same_policy() {
    run("a_submodule_is_under_the_same_policy", async {
        let leaf = Repo::small();
        let id = head(&leaf);
        let cases = [
            (leaf.url(), ErrorKind::Denied, "must not name a path"),
            (format!("file://{}", leaf.url()), ErrorKind::Denied, "must not name a path"),
            ("ext::sh -c touch% /tmp/kiln".into(), ErrorKind::Invalid, "run programs"),
            ("-u./payload".into(), ErrorKind::Invalid, "option"),
            ("../../../../../../x".into(), ErrorKind::Invalid, "relative address"),
            ("https://u:hunter2@h/x".into(), ErrorKind::Invalid, "holds a password"),
        ];
        for (url, kind, part) in cases {
            let top = parent(&[("leaf", &url, &id)]);
            let server = Server::start(Rules::serve("top.git", top.bare())).await;
            let e = refusal(open(), &with(server.url("top.git"))).await;
            is(&e, kind, part);
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
        // From a path to a private address, where paths are allowed and private networks are not.
        let top = parent(&[("leaf", "http://127.0.0.1:9/x", &id)]);
        let config = GitConfig { allow_private_network: false, ..open() };
        is(&refusal(config, &with(top.url())).await, ErrorKind::Denied, "not on the public");
    });
}

#[test]
fn submodules_that_never_end_are_refused() {
    run("submodules_that_never_end_are_refused", async {
        // A commit cannot name its own id, but a chain of commits can go on for long.
        let mut chain = vec![Repo::small()];
        for _ in 0..9 {
            let last = chain.last().unwrap();
            chain.push(parent(&[("in", &last.url(), &head(last))]));
        }
        let e = refusal(open(), &with(chain[9].url())).await;
        is(&e, ErrorKind::Exhausted, "nested deeper");
        fetch(open(), &with(chain[8].url())).await.unwrap();
    });
}

/// Ten submodules in each of nine repositories would be a thousand million.
#[test]
fn submodules_that_multiply_are_refused() {
    run("submodules_that_multiply_are_refused", async {
        let mut last = Repo::small();
        let mut chain = Vec::new();
        for _ in 0..4 {
            let (url, id) = (last.url(), head(&last));
            let paths: Vec<_> = (0..10).map(|i| format!("m{i}")).collect();
            let all: Vec<_> =
                paths.iter().map(|p| (p.as_str(), url.as_str(), id.as_str())).collect();
            chain.push(std::mem::replace(&mut last, parent(&all)));
        }
        is(&refusal(open(), &with(last.url())).await, ErrorKind::Exhausted, "more than 500");
    });
}

#[test]
fn a_commit_that_a_submodule_lacks_is_named_with_its_place() {
    run("a_commit_that_a_submodule_lacks_is_named_with_its_place", async {
        let leaf = Repo::small();
        let gone = "12".repeat(20);
        let middle = parent(&[("leaf", "../leaf.git", &gone)]);
        let top = parent(&[("lib/middle", "../middle.git", &head(&middle))]);
        let mut rules = Rules::serve("leaf.git", leaf.bare());
        rules.repositories.insert("middle.git".into(), middle.bare());
        rules.repositories.insert("top.git".into(), top.bare());
        let server = Server::start(rules).await;
        let e = refusal(open(), &with(server.url("top.git"))).await;
        is(&e, ErrorKind::NotFound, "no such commit");
        for part in [gone.as_str(), "lib/middle/leaf", &server.url("leaf.git")] {
            assert!(e.to_string().contains(part), "{e} does not name {part}");
        }
        // And where everything is at hand.
        let top = parent(&[("leaf", &leaf.url(), &gone)]);
        let e = refusal(open(), &with(top.url())).await;
        is(&e, ErrorKind::NotFound, "no such commit");
        is(&e, ErrorKind::NotFound, &leaf.url());
    });
}

/// Only the named commit of a submodule is received, not its history.
#[test]
fn submodules_are_received_without_their_history() {
    run("submodules_are_received_without_their_history", async {
        let leaf = Repo::empty();
        let noise: String = (0..100_000).map(|i| format!("{:x}", (i * 7919) % 65_521)).collect();
        leaf.write("noise", &noise).commit("large");
        std::fs::remove_file(leaf.path().join("noise")).unwrap();
        let old = leaf.write("small", "1").commit("small");
        leaf.write("small", "2").commit("later");
        let top = parent(&[("leaf", "../leaf.git", &old)]);
        let mut rules = Rules::serve("leaf.git", leaf.bare());
        rules.repositories.insert("top.git".into(), top.bare());
        let server = Server::start(rules).await;
        let config = GitConfig { bytes_max: 20_000, ..open() };
        let (found, _) = fetch(config, &with(server.url("top.git"))).await.unwrap();
        assert_eq!(found["leaf/small"], "1");
    });
}

#[test]
fn a_submodule_that_nobody_describes_is_an_error() {
    run("a_submodule_that_nobody_describes_is_an_error", async {
        let repo = Repo::empty();
        let link = format!("160000,{},lost", "12".repeat(20));
        repo.git(&["update-index", "--add", "--cacheinfo", &link]);
        repo.git(&["commit", "-qm", "x"]);
        is(&refusal(open(), &with(repo.url())).await, ErrorKind::Invalid, "does not say where");
        holds(&fetch(open(), &SourceSpec::new(repo.url())).await.unwrap().0, &[("lost", "dir")]);
    });
}
