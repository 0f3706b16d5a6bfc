//! Looking back, and keeping order.

use crate::bench::{Bench, real};
use kiln::port::ArtifactStore;

/// Makes some failed builds without an engine; returns their ids, latest first.
fn failures(bench: &Bench, count: usize) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..count {
        let label = format!("round={i}");
        let path = dir.path().to_str().unwrap();
        let run = bench.kiln(&["build", path, "--label", &label]);
        assert_eq!(run.code, 1, "{run:?}");
    }
    let builds = bench.kiln(&["builds", "--json", "--all"]).json();
    builds.iter().map(|b| b["build"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn builds_are_found_by_their_labels_and_their_end() {
    let bench = Bench::plain();
    let none = bench.kiln(&["show"]);
    assert!(none.code == 1 && none.err.contains("there are no builds yet"), "{none:?}");
    let ids = failures(&bench, 3);
    assert!(bench.kiln(&["show"]).out.contains(&ids[0]));
    let found = |args: &[&str]| -> Vec<String> {
        let builds = bench.kiln(&[&["builds", "--json"][..], args].concat()).json();
        builds.iter().map(|b| b["build"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(&["--label", "round=1"]), [ids[1].clone()]);
    assert_eq!(found(&["--limit", "2"]), ids[..2]);
    assert_eq!(found(&["--status", "failed"]), ids);
    assert_eq!(found(&["--status", "running"]), [""; 0]);
    let none = bench.kiln(&["builds", "--status", "succeeded"]);
    assert!(none.code == 0 && none.err.contains("no such builds"), "{none:?}");
    assert!(bench.kiln(&["builds"]).out.contains("failed"));
}

#[test]
fn the_lock_of_a_driver_that_was_killed_is_removed_and_no_other() {
    let bench = Bench::plain();
    failures(&bench, 1);
    let [dead, held] = ["dead", "held"].map(|id| bench.home().join(format!("drivers/{id}.lock")));
    std::fs::write(&dead, "").unwrap();
    let lock = std::fs::File::create(&held).unwrap();
    lock.lock().unwrap();
    let run = bench.kiln(&["resume"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!dead.exists() && held.exists());
}

#[test]
fn an_id_that_could_mean_several_names_them() {
    let bench = Bench::plain();
    // Of 17 ids, two begin alike.
    let ids = failures(&bench, 17);
    let begins = |c: char| ids.iter().filter(move |id| id.starts_with(c));
    let digit = "0123456789abcdef".chars().find(|c| begins(*c).count() > 1).unwrap();
    let run = bench.kiln(&["show", &digit.to_string()]);
    assert!(run.code == 2 && run.err.contains("several builds begin"), "{run:?}");
    assert!(begins(digit).take(2).all(|id| run.err.contains(id.as_str())), "{run:?}");
    assert!(run.err.contains("Write more of the id"), "{run:?}");
    let one = bench.kiln(&["show", &ids[0]]);
    assert!(one.code == 0 && one.out.contains("there is no Dockerfile"), "{one:?}");
}

#[test]
fn prune_forgets_what_it_is_told_to_and_nothing_else() {
    let bench = Bench::plain();
    let ids = failures(&bench, 3);
    let prune = |args: &[&str]| -> u64 {
        let total = bench.kiln(&[&["prune", "--json"][..], args].concat()).last();
        total["builds"].as_u64().unwrap()
    };
    let left = || bench.kiln(&["builds", "--json", "--all"]).out.lines().count();
    assert_eq!((prune(&[]), left()), (0, 3), "all are new");
    assert_eq!((prune(&["--older-than", "1h"]), left()), (0, 3));
    assert_eq!((prune(&["--keep", "2", "--dry-run"]), left()), (1, 3));
    assert_eq!((prune(&["--keep", "2"]), left()), (1, 2));
    assert_eq!(bench.kiln(&["show", &ids[2]]).code, 1);
    // Left by a process that died while it read standard input; the other one is nobody's.
    std::fs::write(bench.home().join("tmp/0123456789abcdef0123456789abcdef.tar"), "x").unwrap();
    std::fs::write(bench.home().join("tmp/notes.txt"), "x").unwrap();
    assert_eq!((prune(&["--all"]), left()), (2, 0));
    assert_eq!(bench.left_in("tmp"), [bench.home().join("tmp/notes.txt")]);
    assert!(bench.left_in("logs").is_empty(), "{:?}", bench.left_in("logs"));
}

#[test]
fn caches_that_nobody_uses_are_pruned() {
    let bench = Bench::plain();
    let artifacts = kiln_files::FileArtifacts::open(bench.home().join("artifacts")).unwrap();
    let owner = kiln::Owner::local();
    let cache = |name: &str| kiln::CacheKey::new(name).unwrap().build(&owner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let put = |build: &kiln::BuildId, name: &str, text: String| {
        let name = kiln::RelPath::new(name).unwrap();
        let key = kiln::port::ArtifactKey { build: build.clone(), name };
        let body = futures::stream::iter([Ok(text.into_bytes().into())]);
        runtime.block_on(artifacts.put(&key, Box::pin(body))).unwrap();
    };
    let hours_ago = |hours: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        format!(r#"{{"version":1,"at":{}}}"#, now.as_millis() as u64 - hours * 3_600_000)
    };
    let caches = [("old", 24 * 31), ("late", 24 * 29), ("used", 0)];
    for (name, hours) in caches {
        put(&cache(name), kiln::CacheKey::ARCHIVE, "some bytes".to_owned());
        put(&cache(name), "used", hours_ago(hours));
    }
    let kept = || runtime.block_on(artifacts.caches()).unwrap();
    let dry = bench.kiln(&["prune", "--dry-run", "--json"]);
    let told = dry.json().into_iter().find(|l| l["type"] == "cache").unwrap();
    assert_eq!(
        (&told["cache"], &told["forgotten"]),
        (&cache("old").as_str().into(), &false.into())
    );
    assert_eq!((dry.last()["caches"].as_u64(), kept().len()), (Some(1), 3));
    let run = bench.kiln(&["prune"]);
    assert!(run.code == 0 && run.out.contains(cache("old").as_str()), "{run:?}");
    assert!(run.err.contains("0 of 0 finished builds and a cache"), "{run:?}");
    assert!(!kept().contains(&cache("old")) && kept().len() == 2);
    let all = bench.kiln(&["prune", "--caches", "--json"]);
    assert_eq!(all.last()["caches"], 1, "{all:?}");
    assert_eq!(kept(), [cache("used")], "it was used just now");
}

#[test]
fn a_log_is_told_by_step_and_by_time() {
    let Some(bench) = real("a_log_is_told_by_step") else { return };
    let dir = bench.context("FROM {base}\nRUN echo early; sleep 12; echo late\n", &[]);
    bench.git(dir.path());
    let url = format!("file://{}", dir.path().display());
    let run = bench.kiln(&["build", &url, "--no-cache", "--json"]);
    let id = run.last()["build"].as_str().unwrap().to_owned();
    let fetch = bench.kiln(&["logs", &id, "--step", "fetch"]).out;
    assert!(fetch.starts_with("[fetch] started\n") && !fetch.contains("[build]"), "{fetch}");
    let absent = bench.kiln(&["logs", &id, "--step", "lunch"]);
    assert!(absent.code == 1 && absent.err.contains("steps: fetch, build"), "{absent:?}");
    let stamped = bench.kiln(&["logs", &id, "--timestamps"]).out;
    let late = stamped.lines().find(|l| l.ends_with("[build] late")).unwrap();
    let (at, _) = late.split_once(' ').unwrap();
    assert!(at.len() == 24 && at.ends_with('Z'), "{late}");
    let since = bench.kiln(&["logs", &id, "--since", at]).out;
    assert!(since.contains("[build] late") && !since.contains("[build] early"), "{since}");
    let all = bench.kiln(&["logs"]).out;
    assert_eq!(bench.kiln(&["logs", &id, "--since", "1h"]).out, all, "the latest is this one");
    let last: Vec<_> = all.lines().skip(all.lines().count() - 2).collect();
    for args in [&["logs", &id, "--tail", "2"][..], &["logs", "-fn2"]] {
        assert_eq!(bench.kiln(args).out.lines().collect::<Vec<_>>(), last, "{args:?}");
    }
    assert_eq!(bench.kiln(&["logs", "--tail", "0"]).out, "");
}

#[test]
fn prune_sweeps_the_engine_of_what_this_data_directory_left_and_of_nothing_else() {
    let Some(bench) = real("prune_sweeps_the_engine") else { return };
    assert_eq!(bench.kiln(&["prune"]).code, 0);
    let home = std::fs::read_to_string(bench.home().join("id")).unwrap();
    let make = |home: &str| {
        let (home, build) = (format!("dev.kiln.home={home}"), "dev.kiln.build=0123456789abcdef");
        let label = bench.label();
        let args = ["volume", "create", "--label", &home, "--label", build, "--label", &label];
        bench.docker(&args).out.trim().to_owned()
    };
    let (ours, foreign) = (make(home.trim()), make("another-home"));
    let there = |name: &str| bench.docker(&["volume", "inspect", name]).code == 0;
    let told = bench.kiln(&["prune", "--dry-run", "--json"]);
    let leftover = told.json().into_iter().find(|l| l["type"] == "leftover").unwrap();
    assert_eq!((&leftover["volumes"], &leftover["removed"]), (&1.into(), &false.into()));
    assert!(there(&ours));
    let swept = bench.kiln(&["prune"]);
    assert!(swept.code == 0 && swept.out.contains("volumes: 1"), "{swept:?}");
    let (gone, kept) = (!there(&ours), there(&foreign));
    bench.docker(&["volume", "rm", "-f", &ours, &foreign]);
    assert!(gone && kept, "ours is gone: {gone}, a foreign one is there: {kept}");
}
