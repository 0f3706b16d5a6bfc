//! A process of Kiln that is killed as hard as can be.

use crate::parts::{Bench, bench, bench_of, name};
use kiln::{
    BuildId, Command, StepId, StepKey,
    port::{Exit, Runtime, Stream},
};
use kiln_conformance::step::TestStep;
use kiln_docker::HomeId;
use std::{
    io::{BufRead, BufReader},
    process::{Command as Process, Stdio},
};

const TEST: &str = "what_a_killed_process_began_goes_on_and_is_found";
/// Says that this is the process to be killed, and in which home and build.
const VICTIM: &str = "KILN_TEST_VICTIM";

fn command() -> Command {
    Command::script(
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; sleep 2; echo last; exit 5",
    )
}

fn step_of(build: &BuildId) -> TestStep {
    TestStep::of(StepKey { build: build.clone(), step: StepId(7), attempt: 2 })
}

/// Starts the command, says so, and waits for its death.
async fn be_killed(bench: &Bench, build: &BuildId) {
    let mut step = step_of(build);
    let in_box = bench.start(&step, &bench.spec()).await;
    let (runtime, cx) = (bench.runtime.clone(), step.cx().clone());
    let running = tokio::spawn(async move { runtime.exec(&cx, &in_box, &command()).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    println!("\nready");
    let _ = running.await;
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_began_goes_on_and_is_found() {
    if let Ok(victim) = std::env::var(VICTIM) {
        let (home, build) = victim.split_once(' ').unwrap();
        let bench = bench_of(TEST, HomeId::new(home).unwrap()).await.unwrap();
        return be_killed(&bench, &BuildId::new(build).unwrap()).await;
    }
    let home = HomeId::new(BuildId::random().as_str()).unwrap();
    let Some(bench) = bench_of(TEST, home.clone()).await else { return };
    let build = BuildId::random();
    let mut victim = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("kills::{TEST}"), "--nocapture"])
        .env(VICTIM, format!("{home} {build}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(victim.stdout.take().unwrap());
    assert!(told.lines().any(|line| line.unwrap() == "ready"), "the process said nothing");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let mut step = step_of(&build);
    assert!(bench.runtime.has(&step.key).await.unwrap());
    let in_box = bench.runtime.start(step.cx(), &name("main"), &bench.spec()).await.unwrap();
    let ended = bench.runtime.exec(step.cx(), &in_box, &command()).await;
    assert_eq!(ended.unwrap(), Exit::new(5));
    let lines: String = (1..=3000).map(|i| format!("{i}\n")).collect();
    assert_eq!(step.bytes(Stream::Stdout).await, (lines + "last\n").as_bytes());
    assert_eq!(bench.labelled(&format!("dev.kiln.build={build}")).await.len(), 1);
}

/// Its effects tell, not its output: a second run would print the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_its_effects_once_whoever_asks() {
    let Some(bench) = bench("a_command_has_its_effects_once_whoever_asks").await else { return };
    let build = BuildId::random();
    let steps = [(); 4].map(|()| step_of(&build));
    let in_box = bench.start(&steps[0], &bench.spec()).await;
    let command = Command::script("echo ran >>/tmp/ran; sleep 1; echo said; exit 6");
    let processes = [(); 4].map(|()| bench.another());
    let calls = processes.iter().zip(&steps).map(|(p, s)| p.exec(s.cx(), &in_box, &command));
    for ended in futures::future::join_all(calls).await {
        assert_eq!(ended.unwrap(), Exit::new(6));
    }
    for mut step in steps {
        assert_eq!(step.bytes(Stream::Stdout).await, b"said\n");
    }
    assert_eq!(bench.says(&step_of(&build), &in_box, "cat /tmp/ran").await, "ran\n");
}
