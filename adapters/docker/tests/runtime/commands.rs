//! Commands: their output, their surroundings, their ends.

use crate::parts::{Bench, archive, bench, beside, busybox, name};
use futures::TryStreamExt;
use kiln::{
    Command, ContainerRef, Error, ErrorKind, Resources, SecretRef,
    port::{BoxHandle, Containers, Exit, Runtime, Stream},
    secret::{Secret, Value},
};
use kiln_conformance::step::TestStep;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_come_through_byte_for_byte() {
    let Some(bench) = bench("ten_megabytes_come_through_byte_for_byte").await else { return };
    let mut step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let script = "dd if=/dev/urandom of=/tmp/a bs=1M count=10 2>/dev/null
        cat /tmp/a & cat /tmp/a >&2 & wait";
    let ended = bench.runtime.exec(step.cx(), &in_box, &Command::script(script)).await;
    assert_eq!(ended.unwrap(), Exit::new(0));
    let main = ContainerRef::Box(name("main"));
    let read = bench.containers.read(&step.key.build, &main, "/tmp/a").await.unwrap();
    let file = read.try_collect::<Vec<_>>().await.unwrap().concat();
    let file = &file[512..512 + (10 << 20)];
    for stream in [Stream::Stdout, Stream::Stderr] {
        let printed = step.bytes(stream).await;
        assert_eq!(printed.len(), file.len(), "{stream:?}");
        assert!(printed == file, "{stream:?}: other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_while_the_command_runs() {
    let Some(bench) = bench("output_comes_while_the_command_runs").await else { return };
    let mut step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let (runtime, cx) = (bench.runtime.clone(), step.cx().clone());
    let command = Command::script("echo one; until [ -e /tmp/seen ]; do sleep 0.1; done; echo two");
    let (asked, there) = (command, in_box.clone());
    let running = tokio::spawn(async move { runtime.exec(&cx, &there, &asked).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It was there before the command had ended.
    bench.says(&beside(&step, 2), &in_box, "touch /tmp/seen").await;
    running.await.unwrap().unwrap();
    assert_eq!(step.bytes(Stream::Stdout).await, b"one\ntwo\n");
}

/// What an adapter knows is lost with its process; what runs in the box is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_attaches_in_the_middle() {
    let Some(bench) = bench("a_new_process_attaches_in_the_middle").await else { return };
    let mut step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let command = Command::script(
        "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo $i; echo e$i >&2; done; sleep 2; echo end; exit 9",
    );
    let (first, cx, sent) = (bench.another(), step.cx().clone(), command.clone());
    let running = tokio::spawn(async move { first.exec(&cx, &in_box, &sent).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    assert!(running.await.is_err());
    let second = bench.another();
    assert!(second.has(&step.key).await.unwrap());
    let mut again = beside(&step, 0);
    let in_box = second.start(again.cx(), &name("main"), &bench.spec()).await.unwrap();
    assert_eq!(second.exec(again.cx(), &in_box, &command).await.unwrap(), Exit::new(9));
    let lines = |prefix: &str| (1..=2000).map(|i| format!("{prefix}{i}\n")).collect::<String>();
    assert_eq!(again.bytes(Stream::Stdout).await, (lines("") + "end\n").as_bytes());
    assert_eq!(again.bytes(Stream::Stderr).await, lines("e").as_bytes());
    // Over, it is still there for whoever missed its end.
    assert!(bench.another().has(&step.key).await.unwrap());
}

async fn fails(bench: &Bench, step: &TestStep, in_box: &BoxHandle, command: &Command) -> Error {
    bench.runtime.exec(step.cx(), in_box, command).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_says_why() {
    let Some(bench) = bench("what_cannot_be_run_says_why").await else { return };
    let step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let at = |cwd: &str| Command { cwd: Some(cwd.into()), ..Command::new(["true"]) };
    let cases = [
        (Command::new(["kiln-none"]), 127),
        (Command::new(["/bin/kiln-none"]), 127),
        // A word of the shell is no program.
        (Command::new(["exit", "3"]), 127),
        (Command::new(["/etc/passwd"]), 126),
        (Command::new(["/tmp"]), 126),
        (at("/nowhere"), 126),
        (at("/etc/passwd"), 126),
    ];
    for (number, (command, code)) in cases.into_iter().enumerate() {
        for _ in 0..2 {
            let step = beside(&step, number as u16);
            let e = fails(&bench, &step, &in_box, &command).await;
            assert_eq!((e.kind(), e.code()), (ErrorKind::Failed, Some(code)), "{command:?} {e:?}");
        }
    }
    let as_nobody = Command { user: Some("nobody-there".into()), ..Command::new(["true"]) };
    for command in [as_nobody, Command::new([""]), Command::new::<&str>([]), Command::new(["\0"])] {
        let e = fails(&bench, &beside(&step, 90), &in_box, &command).await;
        assert_eq!(e.kind(), ErrorKind::Invalid, "{command:?} {e:?}");
    }
    // A command that says 127 itself is an answer.
    let step = beside(&step, 91);
    let ended = bench.runtime.exec(step.cx(), &in_box, &Command::script("exit 127")).await;
    assert_eq!(ended.unwrap(), Exit::new(127));
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_reach_the_command_and_secrets_nobody_else() {
    const TEST: &str = "variables_reach_the_command_and_secrets_nobody_else";
    let Some(bench) = bench(TEST).await else { return };
    let token = SecretRef::new("token").unwrap();
    let mut step = TestStep::new().secret(token.clone(), Secret::new("hunter2-hunter2"));
    let mut spec = bench.spec();
    let texts = [("d", "box"), ("p", "a b"), ("IFS", "x"), ("OF_BOX", "1\n2"), ("BOTH", "box")];
    spec.env = texts.map(|(k, v)| (k.to_owned(), Value::from(v))).into();
    spec.env.insert("TOKEN".into(), Value::Secret(token));
    let in_box = bench.start(&step, &spec).await;
    let mut command = Command::script(
        "echo $d,$p,\"$OF_BOX\",$BOTH; echo ${#TOKEN} $TOKEN; env | grep -c kiln_; sleep 2",
    );
    command.env.insert("BOTH".into(), "command".into());
    let id = bench.container(&step).await;
    let look = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let found = bench.docker.inspect_container(&id, None).await.unwrap();
        let top = bench.docker.top_processes(&id, None).await.unwrap();
        assert!(format!("{top:?}").contains("sleep"), "{top:?}");
        let mut seen = format!("{found:?}{top:?}");
        for exec in found.exec_ids.iter().flatten() {
            seen += &format!("{:?}", bench.docker.inspect_exec(exec).await);
        }
        assert!(!seen.contains("hunter2"), "{seen}");
    };
    let (ended, ()) = tokio::join!(bench.runtime.exec(step.cx(), &in_box, &command), look);
    assert_eq!(ended.unwrap(), Exit::new(0));
    let text = step.text().await;
    assert!(text.starts_with("box,a b,1\n2,command\n15 "), "{text}");
    assert!(!text.contains("hunter2") && text.ends_with("\n0\n"), "{text}");
    let mut odd = Command::new(["true"]);
    odd.env.insert("a.b".into(), "x".into());
    odd.env.insert("TOKEN".into(), "x".into());
    let e = fails(&bench, &beside(&step, 1), &in_box, &odd).await;
    assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_as_the_user_and_where_they_are_told() {
    const TEST: &str = "commands_run_as_the_user_and_where_they_are_told";
    let Some(bench) = bench(TEST).await else { return };
    let image = bench.image(busybox(), &["USER joe", "WORKDIR /tmp"]).await;
    let step = TestStep::new();
    let in_box = bench.start(&step, &kiln::BoxSpec::new(image)).await;
    // At once: a user who is not root has to get at the volume, too.
    assert_eq!(bench.says(&step, &in_box, "id -u; pwd").await, "1000\n/tmp\n");
    let mut command = Command::script("id -u; pwd");
    (command.user, command.cwd) = (Some("0".into()), Some("/bin".into()));
    let mut other = beside(&step, 1);
    bench.runtime.exec(other.cx(), &in_box, &command).await.unwrap();
    assert_eq!(other.text().await, "0\n/bin\n");
    assert!(bench.another().has(&other.key).await.unwrap());
    let mut spec = bench.spec();
    spec.cwd = Some("/new/directory".into());
    let elsewhere = TestStep::new();
    let in_box = bench.start(&elsewhere, &spec).await;
    assert_eq!(bench.says(&elsewhere, &in_box, "pwd").await, "/new/directory\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_and_running_out_is_told() {
    let Some(bench) = bench("limits_are_set_and_running_out_is_told").await else { return };
    let mut step = TestStep::new();
    let mut spec = bench.spec();
    spec.resources = Resources { cpu_millis: 500, memory_bytes: 32 << 20 };
    let in_box = bench.start(&step, &spec).await;
    let id = bench.container(&step).await;
    let host = bench.docker.inspect_container(&id, None).await.unwrap().host_config.unwrap();
    assert_eq!(
        (host.nano_cpus, host.memory, host.memory_swap),
        (Some(500_000_000), Some(32 << 20), Some(32 << 20))
    );
    let command = Command::new(["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]);
    let ended = bench.runtime.exec(step.cx(), &in_box, &command).await;
    assert_eq!(ended.unwrap(), Exit::new(137));
    let text = step.text().await;
    assert!(text.contains("ran out of memory"), "{text}");
    // The box goes on.
    assert_eq!(bench.says(&step, &in_box, "echo on").await, "on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_shared_with_the_box() {
    let Some(bench) = bench("a_workspace_is_shared_with_the_box").await else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), "from outside").unwrap();
    let step = TestStep::new().workspace(dir.path());
    let mut spec = bench.spec();
    let mount = |path: &str, target: &str, read_only| kiln::Mount {
        source: kiln::MountSource::Workspace(kiln::RelPath::new(path).unwrap()),
        target: target.into(),
        read_only,
    };
    spec.mounts = vec![mount("", "/work", false), mount("sub/dir", "/sub", true)];
    let in_box = bench.start(&step, &spec).await;
    let said =
        bench.says(&step, &in_box, "cat /work/in; echo x >/work/sub/dir/y; cat /sub/y").await;
    assert_eq!(said, "from outsidex\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("sub/dir/y")).unwrap(), "x\n");
    let refused = Command::script("echo x >/sub/z");
    let ended = bench.runtime.exec(beside(&step, 5).cx(), &in_box, &refused).await;
    assert_ne!(ended.unwrap(), Exit::new(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_shell_is_unsupported() {
    let Some(bench) = bench("an_image_without_a_shell_is_unsupported").await else { return };
    let image = bench.image(archive(&[], &[]), &[]).await;
    let step = TestStep::new();
    for _ in 0..2 {
        let spec = kiln::BoxSpec::new(image.clone());
        let e = bench.runtime.start(step.cx(), &name("main"), &spec).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
        assert!(e.hint_text().is_some());
    }
}

/// A number for the record; the limit only catches what went badly wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_costs_little() {
    let Some(bench) = bench("a_step_costs_little").await else { return };
    let step = TestStep::new();
    let begun = Instant::now();
    let mut in_box = bench.start(&step, &bench.spec()).await;
    let starting = begun.elapsed();
    let mut times = Vec::new();
    for number in 0..15 {
        let step = beside(&step, number);
        let begun = Instant::now();
        in_box = bench.start(&step, &bench.spec()).await;
        bench.runtime.exec(step.cx(), &in_box, &Command::new(["true"])).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    println!("a box starts in {starting:?}; a step of `true` takes {:?} (median)", times[7]);
    drop(in_box);
}

/// As a commit does it, which may take a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_box_is_waited_for() {
    let Some(bench) = bench("a_paused_box_is_waited_for").await else { return };
    let step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    let command = Command::script("exit 4");
    bench.runtime.exec(step.cx(), &in_box, &command).await.unwrap();
    let id = bench.container(&step).await;
    bench.docker.pause_container(&id).await.unwrap();
    let go_on = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        bench.docker.unpause_container(&id).await.unwrap();
    };
    let other = beside(&step, 1);
    assert_eq!(bench.start(&other, &bench.spec()).await, in_box);
    let (has, ended, ()) = tokio::join!(
        bench.runtime.has(&step.key),
        bench.runtime.exec(other.cx(), &in_box, &command),
        go_on
    );
    assert!(has.unwrap());
    assert_eq!(ended.unwrap(), Exit::new(4));
    // Who is told to stop does not wait for the end of the pause to say so.
    bench.docker.pause_container(&id).await.unwrap();
    let stopped = beside(&step, 2);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stopped.cancel.cancel(kiln::StopReason::Fenced);
    };
    let (ended, ()) = tokio::join!(bench.runtime.exec(stopped.cx(), &in_box, &command), cancel);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
    bench.docker.unpause_container(&id).await.unwrap();
}
