//! Images whose shell and tools are others than busybox's.

use crate::parts::{Bench, File, archive, bench, name};
use kiln::{
    BoxSpec, Command, ErrorKind, StopReason,
    port::{Exit, Runtime, Stream},
};
use kiln_conformance::step::TestStep;
use std::{collections::BTreeSet, path::Path, process};

/// An archive of programs of this machine, with the libraries they need.
fn programs(names: &[(&str, &str)]) -> Option<Vec<u8>> {
    let mut paths = BTreeSet::new();
    let mut files: Vec<File> = Vec::new();
    for (from, to) in names {
        let told = process::Command::new("ldd").arg(from).output().ok()?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        paths.extend(told.split_whitespace().filter(|w| w.starts_with('/')).map(str::to_owned));
        files.push(((*to).to_owned(), 0o755, std::fs::read(from).ok()?));
    }
    for path in paths.iter().filter(|p| Path::new(p).exists()) {
        files.push((path.trim_start_matches('/').to_owned(), 0o755, std::fs::read(path).ok()?));
    }
    Some(archive(&files, &[]))
}

async fn works(bench: &Bench, programs: Vec<u8>) {
    let image = bench.image(programs, &[]).await;
    let mut step = TestStep::new();
    let in_box = bench.start(&step, &BoxSpec::new(image)).await;
    let script = "echo out; echo err >&2; sleep 0.3; echo last; exit 7";
    let ended = bench.runtime.exec(step.cx(), &in_box, &Command::script(script)).await;
    assert_eq!(ended.unwrap(), Exit::new(7));
    assert_eq!(step.bytes(Stream::Stdout).await, b"out\nlast\n");
    assert_eq!(step.bytes(Stream::Stderr).await, b"err\n");
    assert!(bench.another().has(&step.key).await.unwrap());
    let mut hanging = crate::parts::beside(&step, 1);
    let (runtime, cx) = (bench.runtime.clone(), hanging.cx().clone());
    let command = Command::script("echo first; sleep 608 & wait");
    let running = tokio::spawn(async move { runtime.exec(&cx, &in_box, &command).await });
    while hanging.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    hanging.cancel.cancel(StopReason::Cancel);
    assert_eq!(running.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(hanging.text().await, "first\n");
    let id = bench.container(&step).await;
    let top = format!("{:?}", bench.docker.top_processes(&id, None).await.unwrap());
    assert!(!top.contains("\"sleep 608\""), "{top}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dash_and_coreutils_will_do() {
    let Some(bench) = bench("dash_and_coreutils_will_do").await else { return };
    let tools = [
        ("/bin/dash", "bin/sh"),
        ("/bin/cat", "bin/cat"),
        ("/bin/mkdir", "bin/mkdir"),
        ("/bin/sleep", "bin/sleep"),
        ("/bin/chmod", "bin/chmod"),
        ("/usr/bin/setsid", "bin/setsid"),
    ];
    match programs(&tools) {
        Some(programs) => works(&bench, programs).await,
        None => println!("SKIPPED: dash_and_coreutils_will_do: this machine lacks one of them"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_without_setsid_will_do() {
    let Some(bench) = bench("bash_without_setsid_will_do").await else { return };
    let tools = [
        ("/bin/bash", "bin/sh"),
        ("/bin/cat", "bin/cat"),
        ("/bin/mkdir", "bin/mkdir"),
        ("/bin/sleep", "bin/sleep"),
    ];
    match programs(&tools) {
        Some(programs) => works(&bench, programs).await,
        None => println!("SKIPPED: bash_without_setsid_will_do: this machine lacks one of them"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_lacks_is_named() {
    let Some(bench) = bench("a_tool_that_lacks_is_named").await else { return };
    let Some(programs) = programs(&[("/bin/dash", "bin/sh"), ("/bin/sleep", "bin/sleep")]) else {
        println!("SKIPPED: a_tool_that_lacks_is_named: this machine has no dash");
        return;
    };
    let image = bench.image(programs, &[]).await;
    let step = TestStep::new();
    let in_box = bench.runtime.start(step.cx(), &name("main"), &BoxSpec::new(image)).await.unwrap();
    let e = bench.runtime.exec(step.cx(), &in_box, &Command::script(":")).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
    assert!(e.to_string().contains("cat"), "{e}");
}
