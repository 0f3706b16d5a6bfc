//! Steps that are kept, and local ones.

use crate::shells::tree;
use futures::executor::block_on;
use kiln::{ErrorKind, Timestamp};
use kiln_wercker::step::{
    Found, MemoryRegistry, Refresh, Resolved, StepCache, StepRegistry, copy_local, local_path,
};
use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

const MINUTE: u64 = 60_000;

fn found(version: &str) -> Found {
    let tarball_url = format!("https://files.test/x-{version}.tgz");
    Found { version: version.into(), tarball_url, sha256: None }
}

/// A cache, a registry with `a/x` 1.0.0, and files of a step.
fn room() -> (tempfile::TempDir, StepCache, MemoryRegistry) {
    let dir = tempfile::tempdir().unwrap();
    let cache = StepCache::new(dir.path().join("steps")).refresh_after(Duration::from_secs(3600));
    let registry = MemoryRegistry::default();
    registry.publish("a", "x", found("1.0.0"));
    tree(&dir.path().join("fetched"), &[("run.sh", "echo x\n"), ("lib/y", "y")]);
    (dir, cache, registry)
}

fn resolve(
    cache: &StepCache,
    registry: &dyn StepRegistry,
    version: &str,
    minutes: u64,
) -> kiln::Result<Resolved> {
    let now = Timestamp(1_000 * MINUTE + minutes * MINUTE);
    block_on(cache.resolve(registry, ("a", "x", version), Refresh::WhenOld, now))
}

#[test]
fn the_newest_version_is_asked_for_again_after_a_time() {
    let (dir, cache, registry) = room();
    let first = resolve(&cache, &registry, "*", 0).unwrap();
    assert_eq!((first.found, first.kept), (found("1.0.0"), None));
    // What was never put is not there, however fresh the answer is.
    assert_eq!(resolve(&cache, &registry, "*", 1).unwrap().kept, None);
    assert_eq!(registry.asked(), 2);
    let kept = cache.put("a", "x", "1.0.0", &dir.path().join("fetched")).unwrap();
    assert_eq!(kept, dir.path().join("steps/a-x@1.0.0"));

    registry.publish("a", "x", found("1.1.0"));
    let again = resolve(&cache, &registry, "*", 59).unwrap();
    assert_eq!((again.found, again.kept), (found("1.0.0"), Some(kept)));
    assert_eq!(registry.asked(), 2);
    let later = resolve(&cache, &registry, "*", 62).unwrap();
    assert_eq!((later.found, later.kept), (found("1.1.0"), None));
    assert_eq!(registry.asked(), 3);
}

#[test]
fn an_exact_version_that_is_kept_is_never_asked_for() {
    let (dir, cache, registry) = room();
    resolve(&cache, &registry, "1.0.0", 0).unwrap();
    cache.put("a", "x", "1.0.0", &dir.path().join("fetched")).unwrap();
    registry.set_gone(true);
    let resolved = resolve(&cache, &registry, "1.0.0", 1_000_000).unwrap();
    assert!(resolved.kept.is_some() && resolved.warning.is_none());
    assert_eq!(registry.asked(), 1);
}

#[test]
fn a_refresh_asks_in_any_case() {
    let (dir, cache, registry) = room();
    resolve(&cache, &registry, "*", 0).unwrap();
    cache.put("a", "x", "1.0.0", &dir.path().join("fetched")).unwrap();
    registry.publish("a", "x", found("1.1.0"));
    let now = Timestamp(1_000 * MINUTE + 1);
    let step = ("a", "x", "*");
    let resolved = block_on(cache.resolve(&registry, step, Refresh::Always, now)).unwrap();
    assert_eq!(resolved.found, found("1.1.0"));
}

#[test]
fn without_the_registry_what_is_kept_is_used_with_a_warning() {
    let (dir, cache, registry) = room();
    registry.set_gone(true);
    let error = resolve(&cache, &registry, "*", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    registry.set_gone(false);
    resolve(&cache, &registry, "*", 0).unwrap();
    cache.put("a", "x", "1.0.0", &dir.path().join("fetched")).unwrap();
    registry.set_gone(true);
    let resolved = resolve(&cache, &registry, "*", 500).unwrap();
    assert_eq!(resolved.found, found("1.0.0"));
    let warning = resolved.warning.unwrap();
    assert!(warning.contains("cannot be reached") && warning.contains("1.0.0"), "{warning}");
    let error = resolve(&cache, &registry, "2.0.0", 500).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn what_does_not_exist_any_more_is_an_answer() {
    let (dir, cache, registry) = room();
    resolve(&cache, &registry, "*", 0).unwrap();
    cache.put("a", "x", "1.0.0", &dir.path().join("fetched")).unwrap();
    let empty = MemoryRegistry::default();
    let error = resolve(&cache, &empty, "*", 500).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn answers_that_make_no_sense_are_none() {
    let (dir, cache, registry) = room();
    registry.publish("a", "x", found("../../etc"));
    let error = resolve(&cache, &registry, "*", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    registry.publish("a", "x", found("1.0.0"));
    for text in ["", "{", "[]", r#"{"version":"../x","tarball_url":"u","asked_at":1}"#] {
        fs::create_dir_all(dir.path().join("steps")).unwrap();
        fs::write(dir.path().join("steps/a-x@newest.json"), text).unwrap();
        assert_eq!(resolve(&cache, &registry, "*", 0).unwrap().found, found("1.0.0"), "{text}");
    }
}

#[test]
fn steps_are_kept_whole_and_taken_out_again() {
    let (dir, cache, _) = room();
    let from = dir.path().join("fetched");
    symlink("lib/y", from.join("link")).unwrap();
    cache.put("a", "x", "1.0.0", &from).unwrap();
    // Whoever comes second changes nothing.
    fs::write(from.join("run.sh"), "other").unwrap();
    cache.put("a", "x", "1.0.0", &from).unwrap();
    let into = dir.path().join("work/steps/x-3");
    cache.take("a", "x", "1.0.0", &into).unwrap();
    assert_eq!(fs::read_to_string(into.join("run.sh")).unwrap(), "echo x\n");
    assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new("lib/y"));
    let error = cache.take("a", "x", "9", &dir.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for bad in [["..", "x", "1"], ["a", "x/y", "1"], ["a", "x", ".."], ["a", "x", "*"]] {
        let error = cache.put(bad[0], bad[1], bad[2], &from).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad:?}");
    }
    // Owners and names with dashes do not get into each other's way.
    let one = cache.put("a-b", "c", "1", &from).unwrap();
    let other = cache.put("a", "b-c", "1", &from).unwrap();
    assert_ne!(one, other);
    let drafts = fs::read_dir(dir.path().join("steps")).unwrap();
    let names = drafts.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|n| !n.starts_with(".draft")));
}

#[test]
fn a_local_step_is_copied_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let project =
        tree(dir.path(), &[("p/steps/x/run.sh", "x"), ("p/steps/x/d/e/f", "f")]).join("p");
    let run = project.join("steps/x/run.sh");
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&run, 0o4755);
    set(&project.join("steps/x/d/e"), 0o555);
    symlink("../e/f", project.join("steps/x/d/e/up")).unwrap();
    symlink("d", project.join("steps/x/dir")).unwrap();
    let from = local_path(&project, Path::new("./steps/x")).unwrap();
    assert_eq!(from, local_path(&project, &from).unwrap());
    let to = dir.path().join("work/x-1");
    copy_local(&from, &to).unwrap();
    let mode = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o7777;
    // Nobody becomes somebody else by it, and whoever made it can remove it.
    assert_eq!((mode("run.sh"), mode("d/e")), (0o755, 0o755));
    set(&project.join("steps/x/d/e"), 0o755);
    assert_eq!(fs::read_to_string(to.join("d/e/up")).unwrap(), "f");
    assert_eq!(fs::read_to_string(to.join("dir/e/f")).unwrap(), "f");
    let error = copy_local(&from, &to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn links_that_lead_out_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path(), &[("secret", "hunter2"), ("step/u/v/file", "")]);
    let step = dir.path().join("step");
    symlink("../..", step.join("u/v/root")).unwrap();
    let to = dir.path().join("copy");
    copy_local(&step, &to).unwrap();
    fs::remove_dir_all(&to).unwrap();
    for (at, leads_to) in [
        ("l", "/etc/passwd"),
        ("l", ".."),
        ("l", "../secret"),
        ("l", "./../secret"),
        ("l", "u/../../secret"),
        ("l", "u/v/root/../secret"),
        ("u/l", "../../secret"),
    ] {
        symlink(leads_to, step.join(at)).unwrap();
        let error = copy_local(&step, &to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{leads_to}");
        assert!(!to.exists(), "{leads_to}");
        fs::remove_file(step.join(at)).unwrap();
    }
    let made = std::process::Command::new("mkfifo").arg(step.join("pipe")).status();
    if made.is_ok_and(|s| s.success()) {
        assert_eq!(copy_local(&step, &to).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_project_names_no_step_outside_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path(), &[("p/x/run.sh", ""), ("outside/run.sh", ""), ("p/file", "")]);
    let project = dir.path().join("p");
    symlink("../outside", project.join("link")).unwrap();
    let path = |text: &str| local_path(&project, Path::new(text)).map_err(|e| e.kind());
    assert!(path("./x").is_ok());
    assert_eq!(path("link"), Err(ErrorKind::Invalid));
    assert_eq!(path("x/../link"), Err(ErrorKind::Invalid));
    assert_eq!(path("none"), Err(ErrorKind::NotFound));
    assert_eq!(path("file"), Err(ErrorKind::Invalid));
    // Who writes it out means it.
    assert!(path("../outside").is_ok());
}
