//! Commands that share a shell.
//!
//! The shell of a session is a process of the box that nobody is attached to. A second process, the
//! hand, hangs on one exec that is kept open between commands: what it is told it hands to the
//! shell, and what comes of that it prints; see `scripts/hand.sh`. The hand goes with us, and the
//! shell stays; the next hand finds in files what happened meanwhile.

use super::{
    DockerRuntime,
    attach::{Chunks, Input},
    exec::{Follower, answer, options, stop, stop_and_hear},
    handle::{Handle, variables},
    output::{Ending, Output},
    script,
};
use bollard::exec::CreateExecOptions;
use futures::{FutureExt, StreamExt};
use kiln::{
    BoxSpec, BuildId, Command, Error, ErrorKind, Result, SessionName, StepCx, StopReason,
    port::{BoxHandle, Exit},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::io::AsyncWriteExt;

const OP: &str = "Runtime::exec";

/// Whose hand it is: a container, a user and a session.
type Whose = (String, String, SessionName);

/// What is kept of builds: hands that wait for work, and boxes.
#[derive(Clone, Default)]
pub(super) struct Hands(Arc<Mutex<HashMap<BuildId, Kept>>>);

#[derive(Default)]
struct Kept {
    hands: HashMap<Whose, Hand>,
    /// Boxes by the names of their containers, and as which plan's they were started.
    boxes: HashMap<String, (BoxSpec, BoxHandle)>,
}

/// An exec that is kept open.
struct Hand {
    chunks: Chunks,
    input: Input,
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hands").field(&self.lock().len()).finish()
    }
}

impl Hands {
    fn lock(&self) -> MutexGuard<'_, HashMap<BuildId, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, build: &BuildId, whose: &Whose) -> Option<Hand> {
        self.lock().get_mut(build)?.hands.remove(whose)
    }

    fn keep(&self, build: &BuildId, whose: Whose, hand: Hand) {
        self.lock().entry(build.clone()).or_default().hands.insert(whose, hand);
    }

    /// Remembers a box that runs.
    pub(super) fn know(&self, build: &BuildId, name: String, spec: &BoxSpec, found: &BoxHandle) {
        let known = (spec.clone(), found.clone());
        self.lock().entry(build.clone()).or_default().boxes.insert(name, known);
    }

    /// A box that was found before and runs still, by the word of a hand that is in it: when a
    /// container ends, so do its hands. To ask the engine takes longer than many a command.
    pub(super) fn known(&self, build: &BuildId, name: &str, spec: &BoxSpec) -> Option<BoxHandle> {
        let mut all = self.lock();
        let Kept { hands, boxes } = all.get_mut(build)?;
        let (_, found) = boxes.get(name).filter(|(known, _)| known == spec)?;
        let container = Handle::read(found).ok()?.container;
        // One that has something to say is at its end.
        hands.retain(|_, hand| hand.chunks.next().now_or_never().is_none());
        hands.keys().any(|(of, ..)| *of == container).then(|| found.clone())
    }

    /// Lets go of what a build had.
    pub(super) fn forget(&self, build: &BuildId) {
        self.lock().remove(build);
    }
}

/// Runs a command in the shell of its session.
pub(super) async fn exec(
    runtime: &DockerRuntime,
    cx: &StepCx,
    handle: &Handle,
    command: &Command,
    session: &SessionName,
) -> Result<Exit> {
    if cx.cancel.is_cancelled() {
        stop(runtime, cx, handle, command).await;
        return Err(cx.cancelled(OP));
    }
    let user = command.user.clone().unwrap_or_else(|| handle.user.clone());
    let whose = (handle.container.clone(), user, session.clone());
    let mark = BuildId::random();
    let request = request(cx, command, session, mark.as_str()).await?;
    let begun = begin(runtime, cx, handle, command, &whose, &request, mark.as_str());
    let (mut follower, input) = match cx.cancel.race(begun).await {
        Ok(begun) => begun?,
        Err(reason) => {
            if reason != StopReason::Fenced {
                stop(runtime, cx, handle, command).await;
            }
            return Err(cx.cancelled(OP));
        }
    };
    match cx.cancel.race(follower.run(&cx.log)).await {
        Ok(Ok(ending)) => {
            let notes = follower.output.notes();
            if matches!(ending, Ending::Code(_) | Ending::NoDirectory) {
                let hand = Hand { chunks: follower.chunks, input };
                runtime.hands.keep(&cx.key.build, whose, hand);
            }
            answer(runtime, cx, handle, command, ending, notes).await
        }
        Ok(Err(e)) => {
            // The attempt is over, so its effects have to be, too.
            stop(runtime, cx, handle, command).await;
            Err(e.with("box", &handle.container).with("session", session))
        }
        Err(StopReason::Fenced) => Err(cx.cancelled(OP)),
        Err(_) => {
            stop_and_hear(runtime, cx, handle, command, &mut follower).await;
            Err(cx.cancelled(OP))
        }
    }
}

/// Has a hand do it. One that waited may be gone, which shows before anything is done; then another
/// one is asked, and whoever comes first under the key of a step runs it.
async fn begin(
    runtime: &DockerRuntime,
    cx: &StepCx,
    handle: &Handle,
    command: &Command,
    whose: &Whose,
    request: &str,
    mark: &str,
) -> Result<(Follower, Input)> {
    if let Some(hand) = runtime.hands.take(&cx.key.build, whose)
        && let Ok(begun) = ask(runtime, cx, hand, request, mark).await
    {
        return Ok(begun);
    }
    let env = variables(cx, &handle.env, OP).await?;
    let options = CreateExecOptions {
        cmd: Some(vec!["/bin/sh".to_owned()]),
        env: Some(env),
        attach_stdin: Some(true),
        ..options(handle, command)
    };
    let (chunks, mut input) = runtime.attach(&handle.container, options, OP).await?;
    // That it could not be told is known better by what it says.
    let _ = input.write_all(script::HAND.as_bytes()).await;
    ask(runtime, cx, Hand { chunks, input }, request, mark).await
}

/// Tells a hand what to do, and waits until it begins.
async fn ask(
    runtime: &DockerRuntime,
    cx: &StepCx,
    mut hand: Hand,
    request: &str,
    mark: &str,
) -> Result<(Follower, Input)> {
    let sent = match hand.input.write_all(request.as_bytes()).await {
        Ok(()) => hand.input.flush().await,
        Err(e) => Err(e),
    };
    let mut follower = Follower {
        chunks: hand.chunks,
        output: Output::new(mark),
        errors: Output::errors(mark),
        runtime: runtime.clone(),
    };
    match follower.begin(&cx.log).await {
        Ok(()) => Ok((follower, hand.input)),
        Err(e) => match sent {
            Ok(()) => Err(e),
            Err(sent) => Err(e.source(sent)),
        },
    }
}

/// What a hand is told: a call of `kiln_run`.
async fn request(
    cx: &StepCx,
    command: &Command,
    session: &SessionName,
    mark: &str,
) -> Result<String> {
    let (place, room) = (script::directory(&cx.key), script::session(session));
    let mut give = format!("export KILN_STEP={}\n", quoted(&script::mark(&cx.key)));
    for pair in variables(cx, &command.env, OP).await? {
        let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
        give += &format!("export {name}={}\n", quoted(value));
    }
    let run = format!("{{ \\. {place}.text\n}} </dev/null >>{place}.out 2>>{place}.err\n");
    // Words of ours could be the command's own functions by now, so the end is told by redirections
    // alone. After `!` a shell with `set -e` goes on.
    let end = format!("! >|\"{place}.code.$?\"\n");
    give += &match &command.cwd {
        None => run + &end,
        Some(cwd) => {
            let cwd = quoted(cwd);
            format!("if \\cd -- {cwd}\nthen\n{run}{end}else\n! >|{place}.code.cwd\nfi\n")
        }
    };
    give += &format!("! >|{room}/o");
    let text = command.argv.first().map_or("", String::as_str);
    let words = [mark, &place, &room, &give, text].into_iter();
    let words = words.chain(command.notes.values().map(String::as_str));
    Ok(words.fold("kiln_run".to_owned(), |line, word| line + " " + &quoted(word)) + "\n")
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Says why a session runs nothing more.
pub(super) fn over(command: &Command) -> Error {
    let message = "the session has ended: its shell is gone since an earlier command";
    let session = command.session.as_ref().map_or("", SessionName::as_str);
    Error::new(ErrorKind::Failed, OP, message).with("session", session).hint(
        "An `exit`, `exec` or failing command under `set -e` ends the shell of all that follow.",
    )
}
