//! What every [`Runtime`] must do.
//!
//! The suite has to know images and commands: a runtime whose boxes have `/bin/sh` is wrapped in
//! [`Shell`], any other implements [`Boxes`].

mod sessions;

use crate::{
    Fresh,
    helpers::{expect_kind, soon},
    poll_times,
    step::TestStep,
};
use async_trait::async_trait;
use futures::future::join_all;
use kiln::{
    BoxName, BoxSpec, BuildId, Command, ErrorKind, ImageRef, Result, StepCx, StepId, StepKey,
    StopReason,
    memory::MemoryRuntime,
    port::{BoxHandle, Exit, Runtime, Stream},
};
use std::{sync::Arc, time::Duration};

pub use sessions::{
    Shares, a_session_that_ended_runs_nothing_more, a_stopped_command_ends_its_session,
    another_driver_goes_on_in_a_session, commands_of_a_session_share_a_shell,
    notes_are_told_at_the_end, variables_of_a_command_stay_in_its_session,
};

/// Makes a test of every promise of a runtime. The expression makes a `Fresh<R>` for some
/// `R: Boxes`.
#[macro_export]
macro_rules! runtime_suite {
    ($fresh:expr) => {
        $crate::tests_of! { runtime, $fresh,
            a_build_has_one_box_of_a_name
            an_image_that_does_not_exist_is_not_found
            an_exit_code_is_an_answer
            output_goes_to_its_stream
            a_missing_program_is_failed_with_127
            a_command_runs_once_under_one_key
            another_driver_attaches_to_what_runs
            a_cancelled_command_is_stopped_soon
            a_fenced_call_leaves_its_command_alone
            sweeping_is_thorough_and_repeatable
            commands_of_a_session_share_a_shell
            variables_of_a_command_stay_in_its_session
            a_session_that_ended_runs_nothing_more
            a_stopped_command_ends_its_session
            another_driver_goes_on_in_a_session
            notes_are_told_at_the_end
        }
    };
}

/// A runtime, and what a suite has to know to use it.
pub trait Boxes: Runtime {
    /// A box that can be started.
    fn spec(&self) -> BoxSpec;

    /// A box whose image does not exist.
    fn missing(&self) -> BoxSpec;

    /// A command that does something.
    fn command(&self, does: Does) -> Command;

    /// A text that does something in the shell of a session.
    fn text(&self, shares: Shares) -> String;
}

/// What a command of the suite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Prints the lines `out` and `err` to standard output and standard error, and ends with a code.
    PrintsAndExits(u8),
    /// Prints the line `first`, half a second later the line `last`, and ends with 7.
    TakesAWhile,
    /// Prints the line `first` and goes on until it is stopped.
    Hangs,
    /// Nothing: there is no such program.
    IsMissing,
}

/// A runtime whose boxes have `/bin/sh`.
#[derive(Debug)]
pub struct Shell<R: ?Sized> {
    /// The runtime.
    pub runtime: Arc<R>,
    /// An image with a shell.
    pub image: ImageRef,
    /// An image that does not exist.
    pub missing: ImageRef,
}

impl<R: Runtime + ?Sized> Boxes for Shell<R> {
    fn spec(&self) -> BoxSpec {
        BoxSpec::new(self.image.clone())
    }

    fn missing(&self) -> BoxSpec {
        BoxSpec::new(self.missing.clone())
    }

    fn command(&self, does: Does) -> Command {
        match does {
            Does::PrintsAndExits(code) => {
                Command::script(format!("echo out; echo err >&2; exit {code}"))
            }
            Does::TakesAWhile => Command::script("echo first; sleep 0.5; echo last; exit 7"),
            Does::Hangs => Command::script("echo first; sleep 600 & wait"),
            Does::IsMissing => Command::new(["kiln-no-such-program"]),
        }
    }

    fn text(&self, shares: Shares) -> String {
        match shares {
            Shares::Sets => "A=5".to_owned(),
            Shares::Tells => "echo \"${A-}\"".to_owned(),
            Shares::TakesAWhile => "echo first; sleep 0.5; echo last".to_owned(),
            Shares::Hangs => "echo first; sleep 600 & wait".to_owned(),
            Shares::Notes => "echo told >/tmp/kiln-note".to_owned(),
            Shares::Exits(code) => format!("exit {code}"),
            Shares::Misses => "kiln-no-such-program".to_owned(),
        }
    }
}

#[async_trait]
impl<R: Runtime + ?Sized> Runtime for Shell<R> {
    async fn start(&self, cx: &StepCx, name: &BoxName, spec: &BoxSpec) -> Result<BoxHandle> {
        self.runtime.start(cx, name, spec).await
    }

    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<Exit> {
        self.runtime.exec(cx, in_box, command).await
    }

    async fn has(&self, key: &StepKey) -> Result<bool> {
        self.runtime.has(key).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.runtime.sweep(build).await
    }
}

impl Boxes for MemoryRuntime {
    fn spec(&self) -> BoxSpec {
        BoxSpec::new(crate::sample::image("busybox"))
    }

    fn missing(&self) -> BoxSpec {
        let image = crate::sample::image("missing");
        self.host().miss_image(image.clone());
        BoxSpec::new(image)
    }

    fn command(&self, does: Does) -> Command {
        match does {
            Does::PrintsAndExits(code) => {
                Command::script(format!("echo out; warn err; exit {code}"))
            }
            Does::TakesAWhile => Command::script("echo first; sleep 500; echo last; exit 7"),
            Does::Hangs => Command::script("echo first; hang"),
            Does::IsMissing => Command::new(["kiln-no-such-program"]),
        }
    }

    fn text(&self, shares: Shares) -> String {
        match shares {
            Shares::Sets => "set A 5".to_owned(),
            Shares::Tells => "echo $A".to_owned(),
            Shares::TakesAWhile => "echo first; sleep 500; echo last".to_owned(),
            Shares::Hangs => "echo first; hang".to_owned(),
            Shares::Notes => "write /tmp/kiln-note told".to_owned(),
            Shares::Exits(code) => format!("exit {code}"),
            Shares::Misses => "kiln-no-such-program".to_owned(),
        }
    }
}

fn main_box() -> BoxName {
    BoxName::new("main").expect("a name in a test is an id")
}

/// The step of another driver, or another attempt, of the same build.
fn beside(step: &TestStep, number: u16, attempt: u8) -> TestStep {
    let build = step.key.build.clone();
    TestStep::of(StepKey { build, step: StepId(number), attempt })
}

async fn start<R: Boxes>(runtime: &R, step: &TestStep) -> BoxHandle {
    runtime.start(step.cx(), &main_box(), &runtime.spec()).await.expect("a box")
}

/// However many steps of a build start a box of one name, there is one; another build has its own.
pub async fn a_build_has_one_box_of_a_name<R: Boxes>(runtime: Fresh<R>) {
    let (step, other) = (TestStep::new(), TestStep::new());
    let steps: Vec<_> = (0..4).map(|i| beside(&step, i, 1)).collect();
    let boxes = join_all(steps.iter().map(|s| start(&*runtime, s))).await;
    assert!(boxes.iter().all(|b| *b == boxes[0]), "{boxes:?}");
    assert_ne!(start(&*runtime, &other).await, boxes[0]);
    for build in [&step, &other] {
        runtime.sweep(&build.key.build).await.unwrap();
    }
}

/// A box of an image that does not exist cannot start.
pub async fn an_image_that_does_not_exist_is_not_found<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    let started = runtime.start(step.cx(), &main_box(), &runtime.missing()).await;
    expect_kind(started, ErrorKind::NotFound, "an image that does not exist");
    runtime.sweep(&step.key.build).await.unwrap();
}

/// Whatever a command ends with is an answer and no error.
pub async fn an_exit_code_is_an_answer<R: Boxes>(runtime: Fresh<R>) {
    let first = TestStep::new();
    let in_box = start(&*runtime, &first).await;
    for (number, code) in [0, 1, 3, 255].into_iter().enumerate() {
        let step = beside(&first, number as u16, 1);
        let command = runtime.command(Does::PrintsAndExits(code));
        let ended = runtime.exec(step.cx(), &in_box, &command).await.unwrap();
        assert_eq!(ended, Exit::new(i64::from(code)));
    }
    runtime.sweep(&first.key.build).await.unwrap();
}

/// Standard output and standard error are kept apart.
pub async fn output_goes_to_its_stream<R: Boxes>(runtime: Fresh<R>) {
    let mut step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let command = runtime.command(Does::PrintsAndExits(0));
    runtime.exec(step.cx(), &in_box, &command).await.unwrap();
    assert_eq!(step.bytes(Stream::Stdout).await, b"out\n");
    assert_eq!(step.bytes(Stream::Stderr).await, b"err\n");
    runtime.sweep(&step.key.build).await.unwrap();
}

/// A program that does not exist is the user's failure, with the code a shell would give.
pub async fn a_missing_program_is_failed_with_127<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let ended = runtime.exec(step.cx(), &in_box, &runtime.command(Does::IsMissing)).await;
    match ended {
        Ok(code) => panic!("a program that does not exist ended with {code:?}"),
        Err(e) => assert_eq!((e.kind(), e.code()), (ErrorKind::Failed, Some(127)), "{e:?}"),
    }
    runtime.sweep(&step.key.build).await.unwrap();
}

/// A second call under one key returns what the first one did; a second attempt runs anew.
pub async fn a_command_runs_once_under_one_key<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    assert!(!runtime.has(&step.key).await.unwrap(), "nothing ran under that key");
    let in_box = start(&*runtime, &step).await;
    let command = runtime.command(Does::TakesAWhile);
    assert_eq!(runtime.exec(step.cx(), &in_box, &command).await.unwrap(), Exit::new(7));
    // Whether it is still there is the runtime's own affair, but it has to know.
    if runtime.has(&step.key).await.unwrap() {
        let mut again = beside(&step, 0, 1);
        let ended = soon("what is over", runtime.exec(again.cx(), &in_box, &command)).await;
        assert_eq!(ended.unwrap(), Exit::new(7));
        assert_eq!(again.bytes(Stream::Stdout).await, b"first\nlast\n");
    }
    let second = beside(&step, 0, 2);
    assert!(!runtime.has(&second.key).await.unwrap(), "another attempt is another command");
    runtime.sweep(&step.key.build).await.unwrap();
}

/// When a driver goes away while a command runs, the next one attaches and gets all of its output.
pub async fn another_driver_attaches_to_what_runs<R: Boxes>(runtime: Fresh<R>) {
    let mut step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let command = runtime.command(Does::TakesAWhile);
    let (port, cx, handle) = (runtime.port(), step.cx().clone(), in_box.clone());
    let sent = command.clone();
    let driver = tokio::spawn(async move { port.exec(&cx, &handle, &sent).await });
    while step.bytes(Stream::Stdout).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    driver.abort();
    assert!(driver.await.is_err_and(|e| e.is_cancelled()));
    if runtime.has(&step.key).await.unwrap() {
        let mut next = beside(&step, 0, 1);
        let ended = soon("the rest", runtime.exec(next.cx(), &in_box, &command)).await;
        assert_eq!(ended.unwrap(), Exit::new(7));
        assert_eq!(next.bytes(Stream::Stdout).await, b"first\nlast\n");
    }
    runtime.sweep(&step.key.build).await.unwrap();
}

/// A command that is told to stop does so within a second or little more.
pub async fn a_cancelled_command_is_stopped_soon<R: Boxes>(runtime: Fresh<R>) {
    for reason in [StopReason::Cancel, StopReason::Timeout] {
        let mut step = TestStep::new();
        let in_box = start(&*runtime, &step).await;
        let (port, cx) = (runtime.port(), step.cx().clone());
        let command = runtime.command(Does::Hangs);
        let running = tokio::spawn(async move { port.exec(&cx, &in_box, &command).await });
        while step.bytes(Stream::Stdout).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        step.cancel.cancel(reason);
        let ended = soon("a command that was told to stop", running).await.unwrap();
        expect_kind(ended, ErrorKind::Cancelled, "a command that was told to stop");
        runtime.sweep(&step.key.build).await.unwrap();
    }
    let step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    step.cancel.cancel(StopReason::Cancel);
    let command = runtime.command(Does::PrintsAndExits(0));
    let ended = soon("a step that is to stop", runtime.exec(step.cx(), &in_box, &command)).await;
    expect_kind(ended, ErrorKind::Cancelled, "a step that was told to stop before");
    runtime.sweep(&step.key.build).await.unwrap();
}

/// Who was fenced ends its call and leaves the command to the driver that has the build now.
pub async fn a_fenced_call_leaves_its_command_alone<R: Boxes>(runtime: Fresh<R>) {
    let step = TestStep::new();
    let in_box = start(&*runtime, &step).await;
    let command = runtime.command(Does::TakesAWhile);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        step.cancel.cancel(StopReason::Fenced);
    };
    let (ended, ()) = tokio::join!(runtime.exec(step.cx(), &in_box, &command), stop);
    expect_kind(ended, ErrorKind::Cancelled, "a fenced call");
    if runtime.has(&step.key).await.unwrap() {
        let next = beside(&step, 0, 1);
        let ended = soon("the rest", runtime.exec(next.cx(), &in_box, &command)).await;
        assert_eq!(ended.unwrap(), Exit::new(7));
    }
    runtime.sweep(&step.key.build).await.unwrap();
}

/// A sweep removes what the build left, twice and of unknown builds too, and nothing foreign.
pub async fn sweeping_is_thorough_and_repeatable<R: Boxes>(runtime: Fresh<R>) {
    let (step, other) = (TestStep::new(), TestStep::new());
    let (in_box, foreign) = (start(&*runtime, &step).await, start(&*runtime, &other).await);
    let command = runtime.command(Does::PrintsAndExits(0));
    poll_times(runtime.exec(step.cx(), &in_box, &runtime.command(Does::Hangs)), 3).await;
    for _ in 0..2 {
        runtime.sweep(&step.key.build).await.unwrap();
        assert!(!runtime.has(&step.key).await.unwrap(), "a swept command is still there");
    }
    runtime.sweep(&BuildId::random()).await.unwrap();
    let gone = runtime.exec(beside(&step, 1, 1).cx(), &in_box, &command).await;
    assert!(gone.is_err(), "a swept box still runs commands");
    assert_eq!(runtime.exec(other.cx(), &foreign, &command).await.unwrap(), Exit::new(0));
    runtime.sweep(&other.key.build).await.unwrap();
}
