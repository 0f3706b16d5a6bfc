//! What the engine itself costs for a step, with the memory adapters: no container, no disk.

use kiln::{
    BoxName, BoxSpec, Command, Engine, ImageRef, Op, Plan, Step,
    memory::{MemoryHost, MemoryRuntime, SystemClock},
};
use std::{sync::Arc, time::Instant};

const STEPS: usize = 200;
const RUNS: usize = 31;

fn plan() -> Plan {
    let shell = BoxName::new("shell").expect("a legal name");
    let mut plan = Plan::builder();
    plan.add_box(shell.clone(), BoxSpec::new(ImageRef::parse("busybox").expect("a legal name")));
    let mut last = None;
    for i in 0..STEPS {
        let command = Command::new(["true"]);
        let mut step = Step::new(format!("s{i}"), Op::Exec { in_box: shell.clone(), command });
        step.needs.extend(last);
        last = Some(plan.step(step));
    }
    plan.finish().expect("a legal plan")
}

fn main() {
    let runtime = MemoryRuntime::new(&MemoryHost::default(), Arc::new(SystemClock::default()));
    let engine = Engine::builder().runtime(Arc::new(runtime)).build();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let plan = plan();
            let began = Instant::now();
            let run = futures::executor::block_on(engine.run(plan));
            assert_eq!(run.expect("memory adapters do not fail").1.word(), "succeeded");
            began.elapsed().as_secs_f64() * 1e6 / STEPS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("promise step_overhead {:.1} <= 50 us", times[RUNS / 2]);
}
