//! Commands that share a shell, and what they may do to it.

use crate::parts::{Bench, bench, beside};
use kiln::{
    Command, ErrorKind, SessionName, StopReason,
    port::{BoxHandle, Exit, Runtime, Stream},
};
use kiln_conformance::step::TestStep;
use std::time::{Duration, Instant};

/// A box with a session, and the number of the next step.
struct Shell<'a> {
    bench: &'a Bench,
    step: TestStep,
    in_box: BoxHandle,
    next: u16,
}

impl<'a> Shell<'a> {
    async fn new(bench: &'a Bench) -> Self {
        let step = TestStep::new();
        let in_box = bench.start(&step, &bench.spec()).await;
        Self { bench, step, in_box, next: 1 }
    }

    async fn run(&mut self, command: &Command) -> (kiln::Result<Exit>, String) {
        let mut step = beside(&self.step, self.next);
        self.next += 1;
        let exec = self.bench.runtime.exec(step.cx(), &self.in_box, command);
        let ended = tokio::time::timeout(Duration::from_secs(60), exec).await.expect("an end");
        (ended, String::from_utf8_lossy(&step.bytes(Stream::Stdout).await).into_owned())
    }

    /// Has the session evaluate a text; its exit code and standard output.
    async fn says(&mut self, text: &str) -> (i64, String) {
        let (ended, out) = self.run(&command(text)).await;
        (ended.unwrap_or_else(|e| panic!("{text}: {e:?}")).code, out)
    }
}

fn command(text: &str) -> Command {
    Command::in_session(SessionName::new("main").unwrap(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_bears_what_commands_do_to_their_shell() {
    let Some(bench) = bench("a_session_bears_what_commands_do_to_their_shell").await else {
        return;
    };
    let mut shell = Shell::new(&bench).await;
    assert_eq!(shell.says("f() { echo \"f $A\"; }; A=1; cd /tmp; (exit 7)").await, (7, "".into()));
    assert_eq!(shell.says("f; pwd; cat").await, (0, "f 1\n/tmp\n".into()), "and no input");
    // Closed output, other descriptors, and a daemon that keeps them.
    assert_eq!(shell.says("echo a; exec >&- 2>&- 0<&-").await, (0, "a\n".into()));
    assert_eq!(shell.says("exec 3>/tmp/x 4>&1 5<&- 6>&- 7>&- 8>&- 9>&-; echo b").await.1, "b\n");
    let (_, out) = shell.says("(sleep 600; echo late) & echo c").await;
    assert_eq!(out, "c\n");
    // Marks like ours, words that mean something else, and no path.
    let (_, out) =
        shell.says("printf '\\001m begin\\n\\001m code 9\\n'; echo $A; break; return 5").await;
    assert_eq!(out, "\u{1}m begin\n\u{1}m code 9\n1\n");
    let words =
        "printf() { :; }; read() { :; }; alias exec=false; IFS=0/; unset PATH; set -fCu; true";
    assert_eq!(shell.says(words).await, (0, "".into()));
    assert_eq!(shell.says("echo still $A; (exit 3)").await, (3, "still 1\n".into()));
    assert_eq!(shell.says("trap : TERM INT HUP; set -x; echo traced").await.1, "traced\n");
    assert_eq!(shell.says("set +x; if").await.0, 2, "no shell reads that");
    bench.runtime.sweep(&shell.step.key.build).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_ends_the_shell_tells_its_code() {
    let Some(bench) = bench("whoever_ends_the_shell_tells_its_code").await else { return };
    for (text, code) in [
        ("kill -9 $$; sleep 9", 137),
        ("exec sh -c 'echo other; exit 4'", 4),
        ("set -e; false; echo no", 1),
        ("trap 'echo bye' EXIT; exit 6", 6),
    ] {
        let mut shell = Shell::new(&bench).await;
        assert_eq!(shell.says("echo there").await, (0, "there\n".into()));
        assert_eq!(shell.says(text).await.0, code, "{text}");
        let e = shell.run(&command("echo no")).await.0.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Failed, "{text}: {e:?}");
        assert!(e.to_string().contains("the session has ended"), "{e}");
        bench.runtime.sweep(&shell.step.key.build).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_goes_on_in_a_session() {
    let Some(bench) = bench("another_process_goes_on_in_a_session").await else { return };
    let mut shell = Shell::new(&bench).await;
    shell.says("A=kept; echo 0 >/tmp/runs").await;
    let key = beside(&shell.step, 90);
    let text = "echo x >>/tmp/runs; echo first; sleep 2; echo last; (exit 9)";
    let mut first = beside(&shell.step, 90);
    let (runtime, cx, in_box) = (bench.another(), first.cx().clone(), shell.in_box.clone());
    let gone = tokio::spawn(async move { runtime.exec(&cx, &in_box, &command(text)).await });
    while first.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gone.abort();
    let other = bench.another();
    assert!(other.has(&key.key).await.unwrap());
    let mut next = beside(&shell.step, 90);
    let ended = other.exec(next.cx(), &shell.in_box, &command(text)).await;
    assert_eq!(ended.unwrap(), Exit::new(9));
    assert_eq!(next.bytes(Stream::Stdout).await, b"first\nlast\n");
    let (_, out) = shell.says("echo $A; cat /tmp/runs").await;
    assert_eq!(out, "kept\n0\nx\n", "it ran once, in the same shell");
    bench.runtime.sweep(&shell.step.key.build).await.unwrap();
}

/// While a hand waits in a box, nobody asks the engine whether the box runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_died_beside_a_hand_is_started_again() {
    let Some(bench) = bench("a_box_that_died_beside_a_hand_is_started_again").await else { return };
    let mut shell = Shell::new(&bench).await;
    assert_eq!(shell.says("echo there").await, (0, "there\n".into()));
    let id = bench.container(&shell.step).await;
    bench.docker.kill_container(&id, None).await.unwrap();
    // The hand may see it later than we do.
    let begun = Instant::now();
    let again = loop {
        let in_box = bench.start(&shell.step, &bench.spec()).await;
        let found = bench.docker.inspect_container(&id, None).await.unwrap();
        if found.state.unwrap().running == Some(true) {
            break in_box;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody starts the box");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(bench.says(&shell.step, &again, "echo on").await, "on\n");
    bench.runtime.sweep(&shell.step.key.build).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_command_takes_its_session_with_it() {
    let Some(bench) = bench("a_stopped_command_takes_its_session_with_it").await else { return };
    let mut shell = Shell::new(&bench).await;
    shell.says("sleep 601 & true").await;
    let mut step = beside(&shell.step, 91);
    let text = "trap '' TERM; echo first; sleep 602 & sleep 603";
    let slow = command(text);
    let cx = step.cx().clone();
    let exec = bench.runtime.exec(&cx, &shell.in_box, &slow);
    let cancel = step.cancel.clone();
    let stop = async {
        while step.bytes(Stream::Stdout).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel(StopReason::Timeout);
    };
    let (ended, ()) = tokio::join!(exec, stop);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(shell.run(&command("true")).await.0.unwrap_err().kind(), ErrorKind::Failed);
    let left =
        bench.says(&shell.step, &shell.in_box, "ps | grep -c '[s]leep 60[123]' || true").await;
    assert_eq!(left, "0\n");
    bench.runtime.sweep(&shell.step.key.build).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_read_from_plain_files_only() {
    let Some(bench) = bench("notes_are_read_from_plain_files_only").await else { return };
    let mut shell = Shell::new(&bench).await;
    let text = "cd /tmp; mkfifo pipe; mkdir dir; ln -s /dev/zero zero; echo hi >note; \
                yes | head -c 200000 >long; touch empty";
    let names = ["pipe", "dir", "zero", "note", "long", "empty", "none"];
    let asks = names.iter().fold(command(text), |c, n| c.note(*n, format!("/tmp/{n}")));
    let (ended, _) = shell.run(&asks).await;
    let mut notes = ended.unwrap().notes;
    assert_eq!(notes.remove("long").map(|n| n.len()), Some(Command::NOTE_MAX));
    let told: Vec<_> = notes.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    assert_eq!(told, [("empty", ""), ("note", "hi\n")]);
    bench.runtime.sweep(&shell.step.key.build).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_and_values_may_be_long_and_odd() {
    let Some(bench) = bench("texts_and_values_may_be_long_and_odd").await else { return };
    let mut shell = Shell::new(&bench).await;
    let value = format!("'\"$`\\ \n*?#!{}", "ü".repeat(100_000));
    let mut long = command(&format!("# {}\nprintf %s \"$V\"", "x' ".repeat(350_000)));
    long.env.insert("V".to_owned(), value.as_str().into());
    let (ended, out) = shell.run(&long).await;
    assert_eq!(ended.unwrap(), Exit::new(0));
    assert!(out == value, "{} of {} bytes", out.len(), value.len());
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(shell.says("true").await.0, 0);
    }
    println!("a command of a session takes {:?}", begun.elapsed() / 20);
    bench.runtime.sweep(&shell.step.key.build).await.unwrap();
}
