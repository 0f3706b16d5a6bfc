//! What stands in the bucket.

use crate::parts::{body, build, get, key, on_the_server};
use futures::{StreamExt, future::join_all, stream};
use kiln::{
    ErrorKind,
    port::{ArtifactKey, ArtifactStore},
};
use std::{collections::HashSet, fs, path::Path};

#[test]
fn any_name_is_a_name() {
    on_the_server("any_name_is_a_name", async |place| {
        let store = place.open();
        let mut all = vec![
            "x".repeat(256),
            format!("{}/{}", "dir".repeat(100), "\u{1F525}".repeat(300)),
            "y".repeat(4096),
            "..a/b..".into(),
            "%2F".into(),
            "a b+c&d=e?f#g".into(),
            "a\n\t\\\u{7f}<&>".into(),
            "artifacts".into(),
            "contents/x".into(),
        ];
        for name in &all {
            store.put(&key(name), body(name.clone())).await.unwrap();
        }
        for name in &all {
            assert_eq!(get(&store, &key(name)).await.unwrap(), name.as_bytes());
        }
        all.sort();
        let list = store.list(&build("b")).await.unwrap();
        let names: Vec<_> = list.iter().map(|a| a.key.strip_prefix("b/").unwrap()).collect();
        assert_eq!(names, all);
        for stored in place.keys().await {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '/';
            assert!(stored.len() <= 128 && stored.chars().all(plain), "{stored}");
        }
    });
}

#[test]
fn a_list_has_more_than_a_page_of_the_server() {
    on_the_server("a_list_has_more_than_a_page_of_the_server", async |place| {
        let store = place.open();
        const MANY: usize = 1_050;
        let put = |i: usize| {
            let store = store.clone();
            async move { store.put(&key(&format!("{i:04}")), body(vec![b'x'; i])).await.unwrap() }
        };
        let put: Vec<_> = stream::iter(0..MANY).map(put).buffered(16).collect().await;
        assert_eq!(store.list(&build("b")).await.unwrap(), put);
        store.forget(&build("b")).await.unwrap();
        assert_eq!(place.keys().await, [""; 0]);
    });
}

#[test]
fn a_record_that_leads_elsewhere_is_corrupt() {
    on_the_server("a_record_that_leads_elsewhere_is_corrupt", async |place| {
        let store = place.open();
        store.put(&key("x"), body("mine")).await.unwrap();
        let record = place.keys().await.remove(0);
        let text = String::from_utf8(place.read(&record).await.to_vec()).unwrap();
        let content = text.split_once("\"content\":\"").unwrap().1[..32].to_owned();
        let cases = [
            (text.replace(&content, "../../other/contents/x"), ErrorKind::Corrupt),
            (text.replace("\"x\"", "\"y\""), ErrorKind::Corrupt),
            (text.replace("\"version\":1", "\"version\":2"), ErrorKind::Unsupported),
            (text[1..].to_owned(), ErrorKind::Corrupt),
            ("[".repeat(1_000_000), ErrorKind::Corrupt),
        ];
        for (bent, kind) in cases {
            place.write(&record, bent).await;
            assert_eq!(get(&store, &key("x")).await.unwrap_err().kind(), kind);
            assert_eq!(store.list(&build("b")).await.unwrap_err().kind(), kind);
        }
        place.write(&record, text).await;
        assert_eq!(get(&store, &key("x")).await.unwrap(), b"mine");
    });
}

#[test]
fn bytes_that_changed_end_with_corrupt() {
    on_the_server("bytes_that_changed_end_with_corrupt", async |place| {
        let store = place.open();
        store.put(&key("x"), body(vec![b'x'; 300_000])).await.unwrap();
        let content = place.keys().await.pop().unwrap();
        for bent in [vec![b'y'; 300_000], vec![b'x'; 299_999], vec![b'x'; 300_001]] {
            place.write(&content, bent).await;
            let e = get(&store, &key("x")).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{e:?}");
        }
        place.remove(&content).await;
        assert_eq!(get(&store, &key("x")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(store.list(&build("b")).await.unwrap(), []);
    });
}

#[test]
fn of_puts_that_race_one_is_there_whole_also_while_the_build_is_forgotten() {
    on_the_server("puts that race", async |place| {
        for _ in 0..10 {
            let puts = (0..12_u8).map(|i| {
                let store = place.open();
                tokio::spawn(async move {
                    if i % 4 == 3 {
                        store.forget(&build("b")).await.unwrap();
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
            let store = place.open();
            for artifact in store.list(&build("b")).await.unwrap() {
                assert!(put.contains(artifact.digest.as_str()));
                let bytes = get(&store, &key("x")).await.unwrap();
                assert!(bytes.len() == 100_000 && bytes.iter().all(|b| *b == bytes[0]));
            }
            store.forget(&build("b")).await.unwrap();
            assert_eq!(place.keys().await, [""; 0]);
        }
    });
}

#[test]
fn golden_artifacts_are_stored_as_they_were_and_read() {
    on_the_server("golden", async |place| {
        const CONTENT: &str = "0123456789abcdef0123456789abcdef";
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/s3/v1.json");
        let store = place.open();
        let key = ArtifactKey { build: build("b"), ..key("dir/x%y \u{1F525}") };
        let put = store.put(&key, body("what was built\n")).await.unwrap();
        let [record, content] = &place.keys().await[..] else { panic!("a record, a content") };
        let id = content.rsplit('/').next().unwrap();
        let text = String::from_utf8(place.read(record).await.to_vec()).unwrap();
        let text = format!("{}\n{}\n", record, text.replace(id, CONTENT));
        if std::env::var_os("KILN_BLESS").is_some() {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, &text).unwrap();
        }
        let old = fs::read_to_string(&golden).unwrap();
        assert_eq!(text, old);
        store.forget(&build("b")).await.unwrap();
        let (record, text) = old.trim_end().split_once('\n').unwrap();
        place.write(record, text.to_owned()).await;
        place.write(&format!("b/contents/{CONTENT}"), "what was built\n").await;
        assert_eq!(store.list(&build("b")).await.unwrap(), [put]);
        assert_eq!(get(&store, &key).await.unwrap(), b"what was built\n");
    });
}
