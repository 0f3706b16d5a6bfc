//! Uploads of many parts.

use crate::parts::{key, long_body, on_the_server};
use futures::TryStreamExt;
use kiln::port::ArtifactStore;

#[test]
fn an_upload_of_parts_comes_back_whole() {
    on_the_server("parts", async |place| {
        let store = place.open();
        const PART: u64 = 8 << 20;
        for bytes in [PART - 1, PART, PART + 1, 5 * PART, 5 * PART + 7] {
            let put = store.put(&key("x"), long_body(bytes)).await.unwrap();
            assert_eq!(put.bytes, bytes);
            let mut expected = long_body(bytes);
            let mut got = store.get(&key("x")).await.unwrap();
            let (mut left, mut right) = (Vec::new(), Vec::new());
            loop {
                while left.len() < 1 << 20 {
                    let Some(piece) = got.try_next().await.unwrap() else { break };
                    left.extend_from_slice(&piece);
                }
                while right.len() < left.len() {
                    let Some(piece) = expected.try_next().await.unwrap() else { break };
                    right.extend_from_slice(&piece);
                }
                let n = left.len().min(right.len());
                assert!(left[..n] == right[..n], "other bytes came back");
                if n == 0 {
                    break;
                }
                left.drain(..n);
                right.drain(..n);
            }
            assert!(left.is_empty() && right.is_empty(), "{bytes} bytes");
        }
    });
}
