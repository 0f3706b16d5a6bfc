//! Artifacts with strange names, of earlier versions, half written, or for which there is no room.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use kiln::{
    BuildId, Digest, ErrorKind, RelPath, Result,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use kiln_files::FileArtifacts;
use std::{
    collections::HashSet,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    sync::Arc,
};

fn build() -> BuildId {
    BuildId::new("b").unwrap()
}

fn key(name: &str) -> ArtifactKey {
    ArtifactKey { build: build(), name: RelPath::new(name).unwrap() }
}

fn body(bytes: impl Into<Bytes>) -> ByteStream {
    stream::iter([Ok(bytes.into())]).boxed()
}

async fn get(store: &FileArtifacts, name: &str) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = store.get(&key(name)).await?.try_collect().await?;
    Ok(pieces.concat())
}

async fn names(store: &FileArtifacts) -> Vec<String> {
    let list = store.list(&build()).await.unwrap();
    list.into_iter().map(|a| a.key.strip_prefix("b/").unwrap().to_owned()).collect()
}

fn halves(dir: &Path) -> usize {
    fs::read_dir(dir.join(".halves")).unwrap().count()
}

#[test]
fn any_name_is_a_name() {
    kiln_conformance::run("names", async {
        let dir = tempfile::tempdir().unwrap();
        let store = FileArtifacts::open(dir.path()).unwrap();
        let mut all = vec![
            "x".repeat(256),
            format!("{}/{}", "dir".repeat(100), "\u{1F525}".repeat(300)),
            "y".repeat(4096),
            ".half-1-2".into(),
            ".halves".into(),
            "%2F".into(),
            format!("%{}", "0".repeat(64)),
            "a b\n\t\\".into(),
        ];
        for name in &all {
            store.put(&key(name), body(name.clone())).await.unwrap();
        }
        for name in &all {
            assert_eq!(get(&store, name).await.unwrap(), name.as_bytes());
        }
        all.sort();
        assert_eq!(names(&store).await, all);
        let missing = get(&store, &"z".repeat(300)).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_list_does_not_read_the_artifacts() {
    kiln_conformance::run("list", async {
        let dir = tempfile::tempdir().unwrap();
        let store = FileArtifacts::open(dir.path()).unwrap();
        let put = store.put(&key("large"), body(vec![b'x'; 1_000_000])).await.unwrap();
        let file = fs::read_dir(dir.path().join("b")).unwrap().next().unwrap().unwrap().path();
        // Other bytes under the same trailer: whoever summed them would tell another digest.
        File::options().write(true).open(&file).unwrap().write_all_at(b"garbage", 500_000).unwrap();
        assert_eq!(store.list(&build()).await.unwrap(), [put]);
        // A file that is cut off is not taken for one that is whole.
        let bytes = fs::read(&file).unwrap();
        for cut in [0, 10, bytes.len() - 1] {
            fs::write(&file, &bytes[..cut]).unwrap();
            assert_eq!(get(&store, "large").await.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    });
}

#[test]
fn artifacts_of_version_1_are_read_listed_and_replaced() {
    kiln_conformance::run("old", async {
        let dir = tempfile::tempdir().unwrap();
        let store = FileArtifacts::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        for (file, text) in [("dir%2Fx%25y", "abc"), ("z", "old"), (".half-1-0", "garbage")] {
            fs::write(dir.path().join("b").join(file), text).unwrap();
        }
        assert_eq!(get(&store, "dir/x%y").await.unwrap(), b"abc");
        let list = store.list(&build()).await.unwrap();
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(list[0].digest, Digest::parse(abc).unwrap());
        assert_eq!(names(&store).await, ["dir/x%y", "z"]);
        let put = store.put(&key("z"), body("new")).await.unwrap();
        assert_eq!(store.list(&build()).await.unwrap()[1..], [put]);
        assert_eq!(get(&store, "z").await.unwrap(), b"new");
        store.forget(&build()).await.unwrap();
        assert!(!dir.path().join("b").exists());
    });
}

#[test]
fn halves_that_a_crash_left_go_and_others_stay() {
    kiln_conformance::run("halves", async {
        let dir = tempfile::tempdir().unwrap();
        let store = FileArtifacts::open(dir.path()).unwrap();
        let stale = dir.path().join(".halves/.half-1-7");
        fs::write(&stale, "of a process that is gone").unwrap();
        let (send, pieces) = futures::channel::mpsc::unbounded();
        send.unbounded_send(Ok(Bytes::from("first"))).unwrap();
        let store = Arc::new(store);
        let putting = tokio::spawn({
            let store = store.clone();
            async move { store.put(&key("x"), pieces.boxed()).await }
        });
        while halves(dir.path()) < 2 {
            tokio::task::yield_now().await;
        }
        // As another process would, with the same process id or another.
        let other = FileArtifacts::open(dir.path()).unwrap();
        assert!(!stale.exists());
        assert_eq!(halves(dir.path()), 1, "what is being written was taken away");
        send.unbounded_send(Ok(Bytes::from(" second"))).unwrap();
        drop(send);
        putting.await.unwrap().unwrap();
        assert_eq!(get(&other, "x").await.unwrap(), b"first second");
        assert_eq!(halves(dir.path()), 0);
    });
}

#[test]
fn of_puts_that_race_one_is_there_whole_also_while_the_build_is_forgotten() {
    kiln_conformance::run("race", async {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..10 {
            let stores = [(); 2].map(|()| Arc::new(FileArtifacts::open(dir.path()).unwrap()));
            let puts = (0..12_u8).map(|i| {
                let store = stores[usize::from(i) % 2].clone();
                tokio::spawn(async move {
                    if i % 4 == 3 {
                        store.forget(&build()).await.unwrap();
                        return None;
                    }
                    Some(store.put(&key("x"), body(vec![i; 100_000])).await.unwrap())
                })
            });
            let put: HashSet<_> = join_all(puts)
                .await
                .into_iter()
                .filter_map(|p| p.unwrap())
                .map(|artifact| artifact.digest.to_string())
                .collect();
            assert_eq!(put.len(), 9);
            for artifact in stores[0].list(&build()).await.unwrap() {
                assert!(put.contains(artifact.digest.as_str()));
                let bytes = get(&stores[1], "x").await.unwrap();
                assert!(bytes.len() == 100_000 && bytes.iter().all(|b| *b == bytes[0]));
            }
            assert_eq!(halves(dir.path()), 0);
        }
    });
}

#[test]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=1m", "kiln-test"]).arg(dir.path());
    if !mount.output().is_ok_and(|done| done.status.success()) {
        println!("SKIPPED: a_full_disk_leaves_nothing: kernel: nothing may be mounted here");
        return;
    }
    let at = dir.path().to_owned();
    let ended = std::panic::catch_unwind(move || {
        kiln_conformance::run("full", async move {
            let store = FileArtifacts::open(&at).unwrap();
            store.put(&key("x"), body("as it was")).await.unwrap();
            let large = || stream::repeat_with(|| Ok(Bytes::from(vec![7; 100_000]))).take(20);
            for name in ["x", "y"] {
                let e = store.put(&key(name), large().boxed()).await.unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
            }
            assert_eq!(halves(&at), 0);
            assert_eq!(names(&store).await, ["x"]);
            assert_eq!(get(&store, "x").await.unwrap(), b"as it was");
            store.put(&key("y"), body(vec![1; 300_000])).await.unwrap();
        });
    });
    let _ = Command::new("umount").arg(dir.path()).status();
    ended.unwrap();
}

#[test]
fn golden_artifacts_are_written_as_they_were_and_read() {
    kiln_conformance::run("golden", async {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/artifact");
        let dir = tempfile::tempdir().unwrap();
        let store = FileArtifacts::open(dir.path()).unwrap();
        let put = store.put(&key("dir/x%y \u{1F525}"), body("what was built\n")).await.unwrap();
        let new = fs::read_dir(dir.path().join("b")).unwrap().next().unwrap().unwrap();
        let old = golden.join("v2/b").join(new.file_name());
        if std::env::var_os("KILN_BLESS").is_some() {
            fs::create_dir_all(golden.join("v2/b")).unwrap();
            fs::copy(new.path(), &old).unwrap();
        }
        assert_eq!(fs::read(new.path()).unwrap(), fs::read(&old).unwrap());
        for version in ["v1", "v2"] {
            let store = FileArtifacts::open(dir.path().join(version)).unwrap();
            fs::create_dir(dir.path().join(version).join("b")).unwrap();
            for file in fs::read_dir(golden.join(version).join("b")).unwrap() {
                let file = file.unwrap();
                let to = dir.path().join(version).join("b").join(file.file_name());
                fs::copy(file.path(), to).unwrap();
            }
            let list = store.list(&build()).await.unwrap();
            assert_eq!(list, std::slice::from_ref(&put), "{version}");
            let text = get(&store, "dir/x%y \u{1F525}").await.unwrap();
            assert_eq!(text, b"what was built\n", "{version}");
        }
    });
}
