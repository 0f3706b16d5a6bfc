use super::{
    MemoryHost, SystemClock,
    host::Ran,
    script::{End, Script},
};
use crate::{
    BoxName, BoxSpec, BuildId, Command, Error, ErrorKind, Result, StepCx, StepKey, StopReason,
    port::{BoxHandle, Clock, ExitCode, Runtime},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Arc};

/// Boxes that are names, and commands that are a few words:
///
/// | word | what it does |
/// |---|---|
/// | `true`, `false`, `exit N` | ends with 0, 1, N |
/// | `echo …`, `warn …` | prints a line to standard output, standard error; `$NAME` is a variable |
/// | `sleep MS` | takes so many milliseconds of the clock |
/// | `hang` | goes on until it is stopped |
/// | `fail-infra` | fails as a broken machine does |
/// | `flaky N` | does so in the first N attempts, then succeeds |
///
/// [`Command::script`] takes several, one a line or with `;` between; the first that does not
/// succeed ends the script. Any other word is a program that does not exist.
#[derive(Debug)]
pub struct MemoryRuntime {
    host: MemoryHost,
    clock: Arc<dyn Clock>,
}

impl MemoryRuntime {
    /// A runtime on a host, with the time of a clock.
    pub fn new(host: &MemoryHost, clock: Arc<dyn Clock>) -> Self {
        Self { host: host.clone(), clock }
    }

    /// The host that its boxes are on.
    pub fn host(&self) -> &MemoryHost {
        &self.host
    }

    /// The command of this attempt: the one that was started before, or a new one.
    fn attach(&self, key: &StepKey, script: Script) -> Ran {
        let started = self.clock.now();
        let ran = || Ran { started, script, stopped: false };
        self.host.lock().commands.entry(key.clone()).or_insert_with(ran).clone()
    }

    /// Follows a command to its end.
    async fn follow(&self, cx: &StepCx, ran: &Ran) -> End {
        let wait = async |at| {
            let passed = self.clock.now().since(ran.started);
            if at > passed {
                self.clock.sleep(at - passed).await;
            }
        };
        for (at, stream, bytes) in &ran.script.prints {
            wait(*at).await;
            cx.log.write(*stream, bytes).await;
        }
        let (at, end) = &ran.script.end;
        wait(*at).await;
        if *end == End::Hangs {
            std::future::pending::<()>().await;
        }
        end.clone()
    }
}

impl Default for MemoryRuntime {
    fn default() -> Self {
        Self::new(&MemoryHost::default(), Arc::new(SystemClock::default()))
    }
}

#[async_trait]
impl Runtime for MemoryRuntime {
    async fn start(&self, cx: &StepCx, name: &BoxName, spec: &BoxSpec) -> Result<BoxHandle> {
        let mut inner = self.host.lock();
        let services = spec.services.values().map(|s| &s.image);
        if let Some(image) =
            [&spec.image].into_iter().chain(services).find(|i| inner.missing.contains(i))
        {
            let message = "no registry has that image";
            return Err(
                Error::new(ErrorKind::NotFound, "Runtime::start", message).with("image", image)
            );
        }
        inner.boxes.entry((cx.key.build.clone(), name.clone())).or_default();
        Ok(BoxHandle(format!("{}/{name}", cx.key.build)))
    }

    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<ExitCode> {
        const OP: &str = "Runtime::exec";
        let there = |(build, name): &(BuildId, BoxName)| in_box.0 == format!("{build}/{name}");
        if !self.host.lock().boxes.keys().any(there) {
            let message = "there is no such box";
            return Err(Error::new(ErrorKind::NotFound, OP, message).with("box", &in_box.0));
        }
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let mut env = BTreeMap::new();
        for (name, value) in &command.env {
            env.insert(name.clone(), cx.secrets.resolve(value).await?.expose().to_vec());
        }
        let ran = self.attach(&cx.key, Script::read(&command.argv, &env, cx.key.attempt));
        if ran.stopped {
            return Err(Error::new(ErrorKind::Cancelled, OP, "the command was stopped"));
        }
        let end = match cx.cancel.race(self.follow(cx, &ran)).await {
            Ok(end) => end,
            Err(reason) => {
                // Who was fenced leaves the command to the driver that has it now.
                if reason != StopReason::Fenced
                    && let Some(ran) = self.host.lock().commands.get_mut(&cx.key)
                {
                    ran.stopped = true;
                }
                return Err(cx.cancelled(OP));
            }
        };
        match end {
            End::Exit(code) => Ok(ExitCode(code)),
            End::Unknown(program) => {
                Err(Error::new(ErrorKind::Failed, OP, "there is no such program")
                    .with("program", program)
                    .exit_code(127))
            }
            End::Infra | End::Hangs => {
                Err(Error::new(ErrorKind::Unavailable, OP, "the machine broke, as it was told"))
            }
        }
    }

    async fn has(&self, key: &StepKey) -> Result<bool> {
        Ok(self.host.lock().commands.get(key).is_some_and(|ran| !ran.stopped))
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        let mut inner = self.host.lock();
        inner.boxes.retain(|(b, _), _| b != build);
        inner.commands.retain(|key, _| key.build != *build);
        Ok(())
    }
}
