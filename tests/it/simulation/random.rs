//! Random plans, the same for the same seed.

use kiln::{
    Attempts, BoxName, BoxSpec, BuildSpec, ImageFrom, ImageRef, Op, Plan, Recipe, RelPath,
    SourceSpec, Step, StepId, When, plan::Command,
};
use std::time::Duration;

/// A small generator of numbers; good enough for dice.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// What a command of the simulation prints and how it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    text: String,
    /// The lines of standard output and of standard error before it ends by itself.
    pub(crate) prints: [String; 2],
    pub(crate) hangs: bool,
}

fn script(r: &mut Rng, step: u16, may_hang: bool) -> Script {
    let mut script = Script::default();
    for line in 0..r.below(4) {
        if r.one_in(3) {
            script.text += &format!("sleep {}; ", r.below(40));
        }
        let to = r.below(2) as usize;
        script.prints[to] += &format!("s{step}-{line}\n");
        script.text += &format!("{} s{step}-{line}; ", ["echo", "warn"][to]);
    }
    let sleep = format!("sleep {}", r.below(90));
    let ends = ["true", &sleep, "true", "flaky 1", "false", "exit 3", "fail-infra", "no-such-word"];
    script.hangs = may_hang && r.one_in(8);
    script.text += if script.hangs { "hang" } else { r.pick(&ends) };
    script
}

/// A plan, and for each step that runs a command what that does.
pub(crate) fn plan(r: &mut Rng) -> (Plan, Vec<Option<Script>>) {
    let mut plan = Plan::builder();
    let in_box = BoxName::new("main").unwrap();
    plan.add_box(in_box.clone(), BoxSpec::new(ImageRef::parse("busybox").unwrap()));
    let limited = r.one_in(6);
    if limited {
        plan.timeout(Duration::from_millis(20 + r.below(150)));
    }
    let (mut scripts, mut images) = (Vec::new(), Vec::new());
    for i in 0..1 + r.below(5) as u16 {
        let timeout = r.one_in(5).then(|| Duration::from_millis(1 + r.below(60)));
        let when = r.pick(&[When::Success, When::Success, When::Failure, When::Always]);
        let mut needs: Vec<_> = (0..i).filter(|_| r.one_in(3)).map(StepId).collect();
        let mut printed = None;
        let op = match r.below(8) {
            0 => Op::Fetch { source: SourceSpec::new("memory:code"), into: RelPath::root() },
            1 => {
                images.push(StepId(i));
                let text = format!("FROM scratch\nRUN {}", r.pick(&["true", "true", "false"]));
                Op::Build(BuildSpec::new(Recipe::Inline { text }))
            }
            2 if !images.is_empty() => {
                let from = r.pick(&images);
                needs.push(from);
                let to = ImageRef::parse(&format!("hub.test/i{i}:1")).unwrap();
                Op::Push { image: ImageFrom::Step(from), to, credentials: None }
            }
            _ => {
                // An after-step that hangs ends by its own timeout only.
                let ends = timeout.is_some() || (limited && when != When::Always);
                let script = script(r, i, ends);
                let command = Command::script(&script.text);
                printed = Some(script);
                Op::Exec { in_box: in_box.clone(), command }
            }
        };
        let mut step = Step::new(format!("s{i}"), op).when(when);
        (step.needs, step.timeout, step.may_fail) = (needs, timeout, r.one_in(5));
        step.attempts = Attempts { max: 1 + r.below(3) as u8, backoff_ms: r.pick(&[0, 0, 20]) };
        plan.step(step);
        scripts.push(printed);
    }
    (plan.finish().unwrap(), scripts)
}
