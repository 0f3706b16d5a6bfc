use super::{
    MemoryHost, SystemClock,
    host::{Inner, Ran},
    script::{End, Script},
    tar::{Entry, Kind},
};
use crate::{
    BoxName, BoxSpec, BuildId, Command, Error, ErrorKind, Result, StepCx, StepKey, StopReason,
    port::{BoxHandle, Clock, Exit, Runtime},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Arc};

const OP: &str = "Runtime::exec";

/// Whose box, and its name.
type Place = (BuildId, BoxName);

/// Boxes that are names, and commands that are a few words:
///
/// | word | what it does |
/// |---|---|
/// | `true`, `false`, `exit N` | ends with 0, 1, N |
/// | `echo …`, `warn …` | prints a line to standard output, standard error; `$NAME` is a variable |
/// | `set NAME …` | sets a variable, in a session for good |
/// | `write PATH …` | writes a line to a file of the box, in place of what it holds |
/// | `sleep MS` | takes so many milliseconds of the clock |
/// | `hang` | goes on until it is stopped |
/// | `fail-infra` | fails as a broken machine does |
/// | `flaky N` | does so in the first N attempts, then succeeds |
///
/// [`Command::script`] takes several, one a line or with `;` between; the first that does not
/// succeed ends the script. So does the text of a session, of which only `exit` ends the shell. Any
/// other word is a program that does not exist.
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

    /// The build and the name of a box.
    fn place(&self, in_box: &BoxHandle) -> Result<Place> {
        let there = |(build, name): &&Place| in_box.0 == format!("{build}/{name}");
        self.host.lock().boxes.keys().find(there).cloned().ok_or_else(|| {
            let message = "there is no such box";
            Error::new(ErrorKind::NotFound, OP, message).with("box", &in_box.0)
        })
    }

    /// The command of this attempt: the one that was started before, or a new one.
    fn attach(
        &self,
        place: &Place,
        key: &StepKey,
        command: &Command,
        env: BTreeMap<String, Vec<u8>>,
    ) -> Result<Ran> {
        let mut inner = self.host.lock();
        if let Some(ran) = inner.commands.get(key) {
            return Ok(ran.clone());
        }
        let script = match &command.session {
            None => Script::read(&command.argv, env, key.attempt),
            Some(session) => {
                let (build, name) = place.clone();
                let shell = inner.sessions.entry((build, name, session.clone())).or_default();
                if shell.ended {
                    let message = "the session has ended: its shell is gone since an earlier step";
                    return Err(Error::new(ErrorKind::Failed, OP, message).with("session", session));
                }
                shell.env.extend(env);
                let text = command.argv.first().map_or("", String::as_str);
                Script::read_in_session(text, shell.env.clone(), key.attempt)
            }
        };
        let started = self.clock.now();
        let ran = || Ran { started, script, stopped: false, told: None };
        Ok(inner.commands.entry(key.clone()).or_insert_with(ran).clone())
    }

    /// Marks a command as stopped, and its session as ended.
    fn stop(&self, (build, name): &Place, key: &StepKey, command: &Command) {
        let mut inner = self.host.lock();
        if let Some(ran) = inner.commands.get_mut(key) {
            ran.stopped = true;
        }
        if let Some(session) = &command.session {
            let session = (build.clone(), name.clone(), session.clone());
            inner.sessions.entry(session).or_default().ended = true;
        }
    }

    /// What a command tells that has ended, the same each time; its box and session then hold what
    /// it left there.
    fn told(&self, (build, name): &Place, key: &StepKey, command: &Command, code: i64) -> Exit {
        let mut inner = self.host.lock();
        let Inner { boxes, commands, sessions, .. } = &mut *inner;
        let Some(ran) = commands.get_mut(key) else { return Exit::new(code) };
        if let Some(told) = &ran.told {
            return told.clone();
        }
        let files = &mut boxes.entry((build.clone(), name.clone())).or_default().files;
        for (path, bytes) in &ran.script.writes {
            files.insert(path.clone(), Entry::file(bytes.clone().into()));
        }
        if let Some(session) = &command.session {
            let session = (build.clone(), name.clone(), session.clone());
            let shell = sessions.entry(session).or_default();
            shell.env = ran.script.env.clone();
            shell.ended |= ran.script.leaves;
        }
        let note = |(name, path): (&String, &String)| {
            let Kind::File(bytes) = &files.get(path)?.kind else { return None };
            let bytes = &bytes[..bytes.len().min(Command::NOTE_MAX)];
            Some((name.clone(), String::from_utf8_lossy(bytes).into_owned()))
        };
        let notes = command.notes.iter().filter_map(note).collect();
        ran.told.insert(Exit { code, notes }).clone()
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

    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<Exit> {
        let place = self.place(in_box)?;
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let mut env = BTreeMap::new();
        for (name, value) in &command.env {
            env.insert(name.clone(), cx.secrets.resolve(value).await?.expose().to_vec());
        }
        let ran = self.attach(&place, &cx.key, command, env)?;
        if ran.stopped {
            return Err(Error::new(ErrorKind::Cancelled, OP, "the command was stopped"));
        }
        let end = match cx.cancel.race(self.follow(cx, &ran)).await {
            Ok(end) => end,
            Err(reason) => {
                // Who was fenced leaves the command to the driver that has it now.
                if reason != StopReason::Fenced {
                    self.stop(&place, &cx.key, command);
                }
                return Err(cx.cancelled(OP));
            }
        };
        match end {
            End::Exit(code) => Ok(self.told(&place, &cx.key, command, code)),
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
        inner.sessions.retain(|(b, ..), _| b != build);
        Ok(())
    }
}
