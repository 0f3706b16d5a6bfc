//! Agents that are told to stop, and those that are not wanted.

use crate::{
    bench::{Bench, real},
    server::OTHER_TOKEN,
};
use kiln::{Event, Outcome};
use rustix::process::Signal;
use std::{fs, time::Duration};

#[test]
fn a_token_of_another_scope_is_refused_with_what_to_do() {
    let bench = Bench::plain();
    let agent = bench.agent("one");
    for (token, word) in [(OTHER_TOKEN, "--scope agent"), ("kiln_nobody", "token list")] {
        fs::write(agent.dir.join("token"), token).unwrap();
        let ended = agent.command(&[]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("kiln-agent: ") && said.contains(word), "{said}");
        assert!(!said.contains(token), "{said}");
    }
}

#[test]
fn who_waits_for_a_server_says_so_once_and_can_be_told_to_stop() {
    let mut bench = Bench::plain();
    bench.kill_server();
    let mut agent = bench.agent("one");
    agent.start(&[]);
    while !agent.said().contains("waiting for the server") {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Long enough to ask a few times more.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(agent.said().matches("waiting for").count(), 1, "{}", agent.said());
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code(), Some(0));
}

#[test]
fn wrong_use_is_told_from_trouble() {
    let bench = Bench::plain();
    let agent = bench.agent("one");
    fs::write(agent.dir.join("agent.toml"), "slts = 1\n").unwrap();
    let ended = agent.command(&[]).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("slts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_agent_finishes_what_it_has() {
    let Some(bench) = real("a_drained_agent_finishes_what_it_has") else { return };
    let mut agent = bench.agent("one");
    agent.start(&["--drain", "100"]);
    let build = bench.submit("echo begun; sleep 3; echo done", 1).await;
    bench.until_printed(&build, "begun").await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code(), Some(0));
    let journal = bench.until(&build, |e| matches!(e, Event::Finished { .. })).await;
    assert_eq!(journal.last().unwrap().event, Event::Finished { outcome: Outcome::Succeeded });
    assert_eq!(bench.printed(&build, 1).await, "begun\ndone\n");
    assert_eq!(Bench::left(&build), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_handed_back() {
    let Some(bench) = real("what_takes_too_long_is_handed_back") else { return };
    let (mut one, mut two) = (bench.agent("one"), bench.agent("two"));
    one.start(&["--drain", "1"]);
    // Longer than a machine stands still.
    let build = bench.submit("echo begun; sleep 20; echo done", 2).await;
    bench.until_printed(&build, "begun").await;
    one.signal(Signal::TERM);
    assert_eq!(one.end().code(), Some(0));
    assert_eq!(Bench::left(&build), Vec::<String>::new());
    two.start(&[]);
    let journal = bench.until(&build, |e| matches!(e, Event::Finished { .. })).await;
    assert_eq!(journal.last().unwrap().event, Event::Finished { outcome: Outcome::Succeeded });
    assert_eq!(bench.printed(&build, 2).await, "begun\ndone\n");
    Bench::assert_swept(&build, &[&one, &two]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_twice_ends_at_once_and_goes_on_later() {
    let Some(bench) = real("who_is_told_twice_ends_at_once_and_goes_on_later") else { return };
    let mut agent = bench.agent("one");
    agent.start(&[]);
    let build = bench.submit("echo begun; sleep 20; echo done", 1).await;
    bench.until_printed(&build, "begun").await;
    agent.signal(Signal::TERM);
    while !agent.said().contains("draining") {
        std::thread::sleep(Duration::from_millis(20));
    }
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code(), Some(0));
    assert!(!Bench::left(&build).is_empty(), "the box was to be left running");
    agent.start(&[]);
    let journal = bench.until(&build, |e| matches!(e, Event::Finished { .. })).await;
    assert_eq!(journal.last().unwrap().event, Event::Finished { outcome: Outcome::Succeeded });
    assert_eq!(bench.printed(&build, 1).await, "begun\ndone\n");
    Bench::assert_swept(&build, &[&agent]);
}
