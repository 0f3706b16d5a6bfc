//! A large layer costs the engine, and not us; and a push of it stops at once.

use crate::parts::{TestImage, plain_registry, push, registry, step, target};
use kiln::{
    StopReason,
    port::{LogBody, Registry},
};
use kiln_conformance::run;
use std::time::{Duration, Instant};

const LAYER_BYTES: u64 = 200 << 20;
/// How much this process may grow while the layer goes by: far less than the layer, and far more
/// than one message of the engine.
const GROWTH_KIB_MAX: u64 = 24 << 10;

/// What this process holds in memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_large_layer_is_pushed_with_progress_in_little_memory_and_stops_at_once() {
    let test = "a_large_layer_is_pushed_with_progress_in_little_memory_and_stops_at_once";
    let Some(host) = plain_registry(test) else { return };
    run(test, async {
        let (image, to) = (TestImage::new(LAYER_BYTES).await, target(&host));
        let registry = registry();

        let stopped = step();
        let cancel = stopped.cx().cancel.clone();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            cancel.cancel(StopReason::Cancel);
            Instant::now()
        };
        let spec = push(&image.name, &to);
        let (ended, since) = tokio::join!(registry.push(stopped.cx(), &spec), stop);
        assert_eq!(ended.unwrap_err().kind(), kiln::ErrorKind::Cancelled);
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
        assert!(image.more_names().await.is_empty());

        let mut step = step();
        let before = resident();
        let mut most = before;
        let cx = step.cx().clone();
        let mut pushed = std::pin::pin!(registry.push(&cx, &spec));
        loop {
            tokio::select! {
                done = &mut pushed => { done.unwrap(); break }
                () = tokio::time::sleep(Duration::from_millis(50)) => most = most.max(resident()),
            }
        }
        println!("measured: {} KiB more while {LAYER_BYTES} bytes were pushed", most - before);
        assert!(most - before < GROWTH_KIB_MAX, "from {before} to {most} KiB");

        let records = step.records().await;
        let told = records.iter().filter_map(|r| match &r.body {
            LogBody::Progress(p) if p.action == "Pushing" => Some(p.item.clone()),
            _ => None,
        });
        let items: std::collections::BTreeSet<_> = told.collect();
        assert_eq!(items.len(), 1, "the progress names the layer: {items:?}");
        assert!(items.iter().all(|i| i.len() == 12));
        assert!(step.text().await.contains(": Pushed"));
    });
}
