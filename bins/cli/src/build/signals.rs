//! What the user tells a running build by signals.

use crate::{
    print,
    remote::{Note, Server},
};
use kiln::{BuildId, Engine, Error, ErrorKind, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedSender,
};

/// Ctrl-C and SIGTERM, which mean the same.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on, signals no longer end the process by themselves.
    pub(crate) fn take() -> Result<Self> {
        let wrong = |e: std::io::Error| Error::new(ErrorKind::Unexpected, "kiln", e.to_string());
        let interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
        let terminate = signal(SignalKind::terminate()).map_err(wrong)?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The first signal cancels a build, the second one without after-steps. The third one is for
    /// whoever will not wait: it returns, and the build is left to `kiln resume`.
    pub(super) async fn obey(
        &mut self,
        engine: &Engine,
        build: &BuildId,
        notes: &UnboundedSender<Note>,
    ) {
        // Where nobody shows notes any more, there is nothing to be seen.
        let note = |text: String| drop(notes.send(Note::Stopping(text)));
        for force in [false, true] {
            self.next().await;
            note(
                match force {
                    false => "stopping; once more to stop at once, without after-steps",
                    true => "stopping at once; once more to leave everything as it is",
                }
                .into(),
            );
            let cancelled = engine.cancel(build, "interrupted by a signal", force).await;
            match cancelled {
                Err(e) if e.kind() != ErrorKind::Conflict => note(format!("warning: {e}")),
                _ => {}
            }
        }
        self.next().await;
        print::note("left as it is; `kiln resume` brings it to its end");
    }

    /// The first signal cancels a build that is with a server; the second one leaves it there.
    pub(super) async fn obey_there(
        &mut self,
        server: &Server,
        build: &BuildId,
        notes: &UnboundedSender<Note>,
    ) {
        let note = |text: String| drop(notes.send(Note::Stopping(text)));
        self.next().await;
        note("stopping; once more to leave the build to the server".into());
        let asked = server.cancel(build, "interrupted by a signal", false);
        let cancelled = tokio::select! {
            cancelled = asked => cancelled,
            () = self.next() => return,
        };
        match cancelled {
            Err(e) if e.kind() != ErrorKind::Conflict => note(format!("warning: {e}")),
            _ => {}
        }
        self.next().await;
    }
}
