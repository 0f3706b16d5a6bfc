//! An engine on a machine that is only pretended, for tests.

use futures::{StreamExt, TryStreamExt};
use kiln::{
    BoxName, BoxSpec, BuildId, Engine, Event, ImageRef, Op, Plan, PlanBuilder, Seq, Step, StepId,
    Toolbox,
    memory::{
        MemoryBuilder, MemoryContainers, MemoryHost, MemoryNotifier, MemoryPublisher,
        MemoryRegistry, MemoryRuntime, MemoryScanner, MemorySecrets, MemorySource,
        MemoryWorkspaces,
    },
    plan::Command,
    port::{LogBody, Offset},
};
use std::sync::Arc;

/// A machine with every memory adapter.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) host: MemoryHost,
    pub(crate) source: Arc<MemorySource>,
    pub(crate) registry: Arc<MemoryRegistry>,
    pub(crate) scanner: Arc<MemoryScanner>,
    pub(crate) publisher: Arc<MemoryPublisher>,
    pub(crate) secrets: Arc<MemorySecrets>,
    pub(crate) workspaces: Arc<MemoryWorkspaces>,
    pub(crate) notifier: Arc<MemoryNotifier>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let (host, tools) = (MemoryHost::default(), Toolbox::default());
        let source = Arc::new(MemorySource::default());
        let registry = Arc::new(MemoryRegistry::new(&host));
        let scanner = Arc::new(MemoryScanner::new(&host));
        let publisher = Arc::new(MemoryPublisher::new(&host));
        let secrets = Arc::new(MemorySecrets::default());
        let workspaces = Arc::new(MemoryWorkspaces::default());
        let notifier = Arc::new(MemoryNotifier::default());
        let tools = Toolbox {
            sources: vec![source.clone()],
            builders: vec![Arc::new(MemoryBuilder::new(&host))],
            runtime: Some(Arc::new(MemoryRuntime::new(&host, tools.clock.clone()))),
            containers: Some(Arc::new(MemoryContainers::new(&host))),
            registry: Some(registry.clone()),
            scanner: Some(scanner.clone()),
            publishers: vec![publisher.clone()],
            secrets: secrets.clone(),
            workspaces: workspaces.clone(),
            notifiers: vec![notifier.clone()],
            ..tools
        };
        let engine = Engine::builder().toolbox(tools).build();
        let m = Self {
            engine,
            host,
            source,
            registry,
            scanner,
            publisher,
            secrets,
            workspaces,
            notifier,
        };
        m.source.set("memory:code", "main", "fn main() {}");
        m
    }

    pub(crate) async fn output(&self, build: &BuildId) -> String {
        let records: Vec<_> = self.engine.log(build, Offset(0)).try_collect().await.unwrap();
        let mut all = Vec::new();
        for record in records {
            if let LogBody::Bytes { data, .. } = record.body {
                all.extend_from_slice(&data);
            }
        }
        String::from_utf8(all).unwrap()
    }

    pub(crate) async fn until(&self, build: &BuildId, what: impl Fn(&Event) -> bool) {
        let mut events = self.engine.events(build, Seq::START);
        while let Some(event) = events.next().await {
            if what(&event.unwrap().event) {
                return;
            }
        }
        panic!("it never came");
    }
}

pub(crate) fn image(name: &str) -> ImageRef {
    ImageRef::parse(name).unwrap()
}

pub(crate) fn boxed() -> (PlanBuilder, BoxName) {
    let (mut plan, name) = (Plan::builder(), BoxName::new("main").unwrap());
    plan.add_box(name.clone(), BoxSpec::new(image("busybox")));
    (plan, name)
}

pub(crate) fn exec(name: &str, script: &str) -> Step {
    let in_box = BoxName::new("main").unwrap();
    Step::new(name, Op::Exec { in_box, command: Command::script(script) })
}

/// A plan of commands, one after the other.
pub(crate) fn commands(scripts: &[&str]) -> Plan {
    let (mut plan, _) = boxed();
    for (i, script) in scripts.iter().enumerate() {
        let step = exec(&format!("s{i}"), script);
        plan.step(if i > 0 { step.after(StepId(i as u16 - 1)) } else { step });
    }
    plan.finish().unwrap()
}

pub(crate) fn is_started(step: u16) -> impl Fn(&Event) -> bool {
    move |e| matches!(e, Event::StepStarted { step: s, .. } if s.0 == step)
}
