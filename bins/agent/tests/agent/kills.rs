//! Agents and servers that are killed or paused while a command runs in a box.

use crate::bench::{Bench, real};
use kiln::{Event, Outcome};
use rustix::process::Signal;
use std::{fmt::Write, time::Duration};

/// A command that prints for so many tenths of a second, and what it prints.
fn printing(tenths: u32) -> (String, String) {
    let lines = tenths * 10;
    let script = format!(
        "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo \"line $i of a command that goes on\"; \
         [ $((i % 10)) != 0 ] || sleep 0.1; done"
    );
    let mut printed = String::new();
    for i in 1..=lines {
        writeln!(printed, "line {i} of a command that goes on").unwrap();
    }
    (script, printed)
}

/// How often each is killed.
fn rounds() -> u32 {
    if is_long() { 20 } else { 6 }
}

fn is_long() -> bool {
    std::env::var_os("KILN_LONG").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_outlives_the_kills_of_its_agent_and_its_server() {
    let Some(mut bench) = real("a_build_outlives_the_kills_of_its_agent_and_its_server") else {
        return;
    };
    let mut agent = bench.agent("one");
    agent.start(&[]);
    let rounds = rounds();
    let (script, printed) = printing(15 * rounds + 20);
    // One attempt: what is lost by a kill would end the build.
    let build = bench.submit(&script, 1).await;
    bench.until_printed(&build, "line 1 of").await;
    for round in 0..rounds {
        // Moments that differ: before and after a renewal, an append, an answer.
        tokio::time::sleep(Duration::from_millis(u64::from(round * 7919 % 20) * 40)).await;
        agent.kill();
        tokio::time::sleep(Duration::from_millis(u64::from(round * 104_729 % 20) * 20)).await;
        agent.start(&[]);
        tokio::time::sleep(Duration::from_millis(u64::from(round * 1_299_709 % 20) * 40)).await;
        bench.kill_server();
        // Once for longer than a lease lasts; where there is time, once for longer than a minute.
        let away = match round {
            2 => 5_000,
            last if last + 1 == rounds && is_long() => 65_000,
            _ => 100,
        };
        tokio::time::sleep(Duration::from_millis(away)).await;
        bench.start_server();
    }
    let journal = bench.until(&build, |e| matches!(e, Event::Finished { .. })).await;
    let finished = Event::Finished { outcome: Outcome::Succeeded };
    assert_eq!(journal.last().unwrap().event, finished, "{journal:#?}");
    assert!(bench.printed(&build, 1).await == printed, "the log is another one");
    let adopted = journal.iter().filter(|r| matches!(r.event, Event::Adopted { .. })).count();
    println!("killed {rounds} times each; {adopted} drivers");
    Bench::assert_swept(&build, &[&agent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_paused_for_longer_than_its_lease_is_fenced() {
    let Some(bench) = real("who_is_paused_for_longer_than_its_lease_is_fenced") else { return };
    let (mut one, mut two) = (bench.agent("one"), bench.agent("two"));
    // Longer than a machine stands still: nobody is fenced but who is paused.
    [&one, &two].into_iter().for_each(|agent| agent.lease_for(20));
    one.start(&[]);
    let (script, printed) = printing(100);
    let build = bench.submit(&script, 2).await;
    bench.until_printed(&build, "line 20 of").await;
    one.signal(Signal::STOP);
    two.start(&[]);
    let by_two = |e: &Event| matches!(e, Event::Adopted { node, .. } if node.as_str() == "two");
    bench.until(&build, by_two).await;
    one.signal(Signal::CONT);
    let journal = bench.until(&build, |e| matches!(e, Event::Finished { .. })).await;
    let at = journal.iter().position(|r| by_two(&r.event)).unwrap();
    // The second attempt is all there is: nothing of the first driver came after it was fenced.
    let after: Vec<_> = journal[at + 1..].iter().map(|r| &r.event).collect();
    assert!(
        matches!(
            after[..],
            [
                Event::StepStarted { attempt: 2, .. },
                Event::StepSucceeded { attempt: 2, .. },
                Event::Finished { outcome: Outcome::Succeeded }
            ]
        ),
        "{journal:#?}"
    );
    assert!(bench.printed(&build, 2).await == printed, "the log is another one");
    Bench::assert_swept(&build, &[&one, &two]);
}
