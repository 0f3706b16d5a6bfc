//! One build in a world with crashes, on one thread, in virtual time.

use super::{
    faults::{Fate, Faulty},
    random::{Rng, Script, plan},
};
use futures::FutureExt;
use kiln::{
    BuildId, Engine, ErrorKind, Outcome, Plan, Recorded, Result, Seq, Submission, Toolbox,
    memory::{
        MemoryBuilder, MemoryHost, MemoryLog, MemoryRegistry, MemoryRuntime, MemorySource,
        MemoryStore, MemoryWorkspaces,
    },
    port::{LogReader, LogRecord, Offset, Store},
};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// How often anything may be polled before it counts as stuck.
const POLLS_MAX: u32 = 20_000;

/// What is left when a build is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) plan: Plan,
    pub(crate) scripts: Vec<Option<Script>>,
    pub(crate) slots: usize,
    pub(crate) journal: Vec<Recorded>,
    pub(crate) log: Vec<LogRecord>,
    pub(crate) log_closed: bool,
    pub(crate) fate: Arc<Fate>,
    /// Whether two drivers lived at once.
    pub(crate) overlapped: bool,
    pub(crate) crashes: u32,
    pub(crate) boxes_left: usize,
    pub(crate) workspaces_left: usize,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What a task comes back with: the outcome for drivers, nothing for clients.
type Work = Pin<Box<dyn Future<Output = Result<Option<Outcome>>>>>;

struct Task {
    drives: bool,
    work: Work,
    woken: Arc<Flag>,
}

struct World {
    build: BuildId,
    fate: Arc<Fate>,
    slots: usize,
    tools: Toolbox,
    store: Arc<MemoryStore>,
    log: Arc<MemoryLog>,
    runtime: Arc<MemoryRuntime>,
    host: MemoryHost,
    tasks: Vec<Task>,
    engines: usize,
    outcomes: Vec<Outcome>,
    crashes_left: u32,
    extra_drivers: u32,
    cancels: u32,
    overlapped: bool,
    crashes: u32,
}

impl World {
    fn new(fate: Fate) -> Self {
        let (fate, host) = (Arc::new(fate), MemoryHost::default());
        let clock = Arc::new(fate.clock.clone());
        let (source, log) =
            (MemorySource::default(), Arc::new(MemoryLog::with_clock(clock.clone())));
        source.set("memory:code", "main", "fn main() {}");
        let tools = Toolbox {
            clock: clock.clone(),
            log_reader: log.clone(),
            workspaces: Arc::new(MemoryWorkspaces::default()),
            sources: vec![Arc::new(source)],
            builders: vec![Arc::new(MemoryBuilder::new(&host))],
            registry: Some(Arc::new(MemoryRegistry::new(&host))),
            ..Toolbox::default()
        };
        Self {
            build: BuildId::new("b").unwrap(),
            slots: 1 + fate.below(3) as usize,
            tools,
            store: Arc::new(MemoryStore::with_clock(clock.clone())),
            log,
            runtime: Arc::new(MemoryRuntime::new(&host, clock)),
            host,
            tasks: Vec::new(),
            engines: 0,
            outcomes: Vec::new(),
            crashes_left: if fate.one_in(2) { 0 } else { fate.below(5) as u32 },
            extra_drivers: if fate.one_in(4) { 1 + fate.below(2) as u32 } else { 0 },
            cancels: if fate.one_in(4) { 1 + fate.below(2) as u32 } else { 0 },
            overlapped: false,
            crashes: 0,
            fate,
        }
    }

    /// An engine of a process of its own.
    fn engine(&mut self) -> Engine {
        self.engines += 1;
        let (who, fate) = (self.engines, &self.fate);
        let store = Faulty { who, fate: fate.clone(), inner: self.store.clone() };
        let sink = Faulty { who, fate: fate.clone(), inner: self.log.clone() };
        let runtime = Faulty { who, fate: fate.clone(), inner: self.runtime.clone() };
        let tools = Toolbox {
            store: Arc::new(store),
            log_sink: Arc::new(sink),
            runtime: Some(Arc::new(runtime)),
            ..self.tools.clone()
        };
        Engine::builder().toolbox(tools).slots(self.slots).build()
    }

    fn spawn(&mut self, drives: bool, work: Work) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { drives, work, woken });
    }

    fn start_driver(&mut self) {
        self.overlapped |= self.drivers() > 0;
        let (engine, build) = (self.engine(), self.build.clone());
        self.spawn(true, Box::pin(async move { engine.drive(&build).await.map(Some) }));
    }

    fn drivers(&self) -> usize {
        self.tasks.iter().filter(|t| t.drives).count()
    }

    fn start_cancel(&mut self) {
        let (engine, build, force) = (self.engine(), self.build.clone(), self.fate.one_in(3));
        let work = async move { engine.cancel(&build, "sim", force).await.map(|()| None) };
        self.spawn(false, Box::pin(work));
    }

    /// Polls tasks in random order until a driver said the outcome and all are done.
    fn run(&mut self) {
        for _ in 0..POLLS_MAX {
            if self.drivers() == 0 && self.outcomes.is_empty() {
                self.fate.clock.advance(Duration::from_millis(self.fate.below(30)));
                self.start_driver();
            }
            if self.tasks.is_empty() {
                return;
            }
            self.poll_one();
            if self.cancels > 0 && self.fate.one_in(40) {
                self.cancels -= 1;
                self.start_cancel();
            }
            if self.extra_drivers > 0 && self.fate.one_in(50) {
                self.extra_drivers -= 1;
                self.start_driver();
            }
        }
        panic!("stuck: {:?}", self.store.load(&self.build, Seq::START).now_or_never());
    }

    fn poll_one(&mut self) {
        let woken: Vec<_> = (0..self.tasks.len())
            .filter(|i| self.tasks[*i].woken.0.load(Ordering::SeqCst))
            .collect();
        if woken.is_empty() {
            assert!(self.fate.clock.advance_to_next(), "nothing will ever happen again");
            return;
        }
        let at = woken[self.fate.below(woken.len() as u64) as usize];
        let task = &mut self.tasks[at];
        task.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(task.woken.clone());
        match task.work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => {
                let drives = task.drives;
                drop(self.tasks.remove(at));
                match result {
                    Ok(Some(outcome)) => self.outcomes.push(outcome),
                    Ok(None) => {}
                    Err(e) => {
                        let kinds = [ErrorKind::Conflict, ErrorKind::Unavailable];
                        assert!(kinds.contains(&e.kind()), "drives: {drives}, {e:?}");
                        if drives {
                            let fenced = e.kind() == ErrorKind::Conflict;
                            assert!(self.overlapped || !fenced, "fenced by nobody: {e:?}");
                            // It may have left something behind, for the next one to clean up.
                            self.outcomes.clear();
                        }
                    }
                }
            }
            Poll::Pending if task.drives && self.crashes_left > 0 && self.fate.one_in(25) => {
                self.crashes_left -= 1;
                self.crashes += 1;
                self.outcomes.clear();
                drop(self.tasks.remove(at));
            }
            Poll::Pending => {}
        }
    }
}

/// What a memory adapter answers without waiting.
fn at_once<T>(answer: impl Future<Output = Result<T>>) -> T {
    answer.now_or_never().expect("nothing to wait for").unwrap()
}

/// Plays one seed to its end.
pub(crate) fn play(seed: u64) -> Ended {
    let mut rng = Rng::new(seed);
    let (plan, scripts) = plan(&mut rng);
    let mut world = World::new(Fate::new(rng));
    let client = Engine::builder()
        .toolbox(Toolbox { store: world.store.clone(), ..world.tools.clone() })
        .build();
    let submission = Submission::new(plan.clone()).id(world.build.clone());
    at_once(client.accept(submission));
    world.run();
    let build = world.build.clone();
    // A driver that was fenced may have started a box after the other one swept: a later
    // clean-up removes it.
    if world.overlapped {
        world.outcomes.clear();
        (world.crashes_left, world.extra_drivers) = (0, 0);
        world.run();
    }
    let journal = at_once(world.store.load(&build, Seq::START));
    let page = at_once(world.log.read(&build, Offset(0), usize::MAX, Duration::ZERO));
    let workspaces = at_once(world.tools.workspaces.list());
    for outcome in &world.outcomes {
        let last = journal.last().map(|r| &r.event);
        assert_eq!(last, Some(&kiln::Event::Finished { outcome: outcome.clone() }));
    }
    Ended {
        plan,
        scripts,
        slots: world.slots,
        journal,
        log: page.records,
        log_closed: page.closed,
        fate: world.fate.clone(),
        overlapped: world.overlapped,
        crashes: world.crashes,
        boxes_left: world.host.boxes().len() + world.host.commands().len(),
        workspaces_left: workspaces.len(),
    }
}
