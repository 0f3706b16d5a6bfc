//! A build as a stream of events: watched while it runs, from another task.

use futures::StreamExt;
use kiln::{
    BoxName, BoxSpec, Command, Engine, ImageRef, Op, Plan, Seq, Step, Submission,
    memory::{MemoryHost, MemoryRuntime, SystemClock},
};
use std::{error::Error, sync::Arc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = MemoryRuntime::new(&MemoryHost::default(), Arc::new(SystemClock::default()));
    let engine = Engine::builder().runtime(Arc::new(runtime)).build();
    let shell = BoxName::new("shell")?;
    let exec = |argv: [&str; 2]| Op::Exec { in_box: shell.clone(), command: Command::new(argv) };

    let mut plan = Plan::builder();
    plan.add_box(shell.clone(), BoxSpec::new(ImageRef::parse("busybox")?));
    let wait = plan.step(Step::new("wait", exec(["sleep", "100"])));
    plan.step(Step::new("greet", exec(["echo", "hello"])).after(wait));
    let build = engine.accept(Submission::new(plan.finish()?)).await?;

    let mut events = engine.events(&build, Seq::START);
    let watcher = tokio::spawn(async move {
        while let Some(Ok(recorded)) = events.next().await {
            println!("{} {:?}", recorded.seq, recorded.event);
        }
    });
    engine.drive(&build).await?;
    watcher.await?;
    Ok(())
}
