//! How much memory an upload needs; alone in its process.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test tells by panicking, and that it was skipped by printing"
)]

#[path = "s3/parts.rs"]
#[expect(dead_code, reason = "the other tests need the rest")]
mod parts;

use futures::{SinkExt, StreamExt, channel::mpsc};
use kiln::port::ArtifactStore;
use parts::{key, long_body, on_the_server};

/// How much memory this process has in use, in MiB; 0 where nobody says.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

#[test]
fn memory_is_flat_however_large_the_artifact() {
    on_the_server("memory_is_flat_however_large_the_artifact", async |place| {
        let store = place.open();
        store.put(&key("small"), long_body(1)).await.unwrap();
        let (before, mut most) = (resident(), 0);
        if before == 0 {
            println!("SKIPPED: memory_is_flat_however_large_the_artifact: kernel: /proc is silent");
            return;
        }
        let (mut sender, receiver) = mpsc::channel(0);
        let mut pieces = long_body(512 << 20);
        let feed = async move {
            while let Some(piece) = pieces.next().await {
                most = most.max(resident());
                sender.send(piece).await.unwrap();
            }
            most
        };
        let key = key("large");
        let (put, most) = futures::join!(store.put(&key, receiver.boxed()), feed);
        assert_eq!(put.unwrap().bytes, 512 << 20);
        println!("512 MiB were put with {} MiB of memory more", most - before);
        assert!(most - before < 64, "{before} MiB before, {most} MiB at most");
    });
}
