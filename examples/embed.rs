//! The engine in ten lines: no daemon, no network, no file.

use kiln::{
    BoxName, BoxSpec, Command, Engine, ImageRef, Op, Plan, Step,
    memory::{MemoryHost, MemoryRuntime, SystemClock},
};
use std::{error::Error, sync::Arc, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let runtime = MemoryRuntime::new(&MemoryHost::default(), Arc::new(SystemClock::default()));
    let engine = Engine::builder().runtime(Arc::new(runtime)).build();

    let shell = BoxName::new("shell")?;
    let mut plan = Plan::builder();
    plan.add_box(shell.clone(), BoxSpec::new(ImageRef::parse("busybox")?));
    plan.step(Step::new(
        "greet",
        Op::Exec { in_box: shell, command: Command::new(["echo", "hello"]) },
    ));

    let (build, outcome) = futures::executor::block_on(engine.run(plan.finish()?))?;
    println!("build {build} {} in {:?}", outcome.word(), began.elapsed());
    Ok(())
}
