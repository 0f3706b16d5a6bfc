//! Builds, submitted as a client does that must not lose one nor make two of it.

use crate::{dice::Dice, runtime::Task};
use kiln::{Attempts, BoxName, BoxSpec, BuildId, ImageRef, Op, Outcome, Plan, Step, StepId};
use kiln_api_native::Submitted;
use reqwest::{Client, StatusCode};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Semaphore;

/// A build that was submitted, and how it has to end.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) build: BuildId,
    pub(crate) plan: Plan,
    pub(crate) outcome: Outcome,
}

/// A plan of a few commands, and how it ends.
pub(crate) fn plan(dice: &mut Dice) -> (Plan, Outcome) {
    let mut plan = Plan::builder();
    let name = BoxName::new("main").unwrap();
    plan.add_box(name.clone(), BoxSpec::new(ImageRef::parse("none").unwrap()));
    let many = dice.between(1, 5) as u16;
    let fails = dice.one_in(8).then(|| dice.below(u64::from(many)) as u16);
    for i in 0..many {
        let bytes = match dice.below(4) {
            0 => 0,
            1 => dice.below(200),
            2 => dice.below(20_000),
            _ => dice.below(200_000),
        };
        let exit = if fails == Some(i) { 3 } else { 0 };
        let task = Task { bytes, millis: dice.below(1_000), exit };
        let op = Op::Exec { in_box: name.clone(), command: task.command() };
        // No step errs because it was lost too often.
        let step = Step::new(format!("s{i}"), op).attempts(Attempts { max: 250, backoff_ms: 10 });
        plan.step(if i > 0 && dice.one_in(2) { step.after(StepId(i - 1)) } else { step });
    }
    let outcome = match fails {
        Some(i) => Outcome::Failed { step: StepId(i) },
        None => Outcome::Succeeded,
    };
    (plan.finish().unwrap(), outcome)
}

/// Whoever submits.
#[derive(Debug)]
pub(crate) struct Submitter {
    pub(crate) http: Client,
    /// The addresses of the servers.
    pub(crate) servers: Vec<String>,
    pub(crate) sent: Mutex<Vec<Sent>>,
    /// How many more builds may be unfinished.
    pub(crate) room: Semaphore,
}

impl Submitter {
    pub(crate) fn new(servers: Vec<String>, room: usize) -> Arc<Self> {
        let http = Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        let (sent, room) = (Mutex::default(), Semaphore::new(room));
        Arc::new(Self { http, servers, sent, room })
    }

    /// Submits so many builds, each by a key of its own.
    pub(crate) async fn submit(self: Arc<Self>, seed: u64, many: u64) {
        let mut dice = Dice::new(seed);
        for n in 0..many {
            self.room.acquire().await.unwrap().forget();
            // Dice of its own: how often a server was away must not change the plans.
            let (plan, outcome) = plan(&mut Dice::new(seed.wrapping_add(n)));
            let key = format!("{seed}-{n}");
            let (build, _) = self.send(&key, &plan, &mut dice).await;
            // As one does whose first answer was lost.
            while dice.one_in(4) {
                let (again, made) = self.send(&key, &plan, &mut dice).await;
                assert_eq!((again, made), (build.clone(), false), "one key made two builds");
            }
            self.sent.lock().unwrap().push(Sent { build, plan, outcome });
        }
    }

    /// Asks one server after the other until one answers.
    async fn send(&self, key: &str, plan: &Plan, dice: &mut Dice) -> (BuildId, bool) {
        loop {
            let server = &self.servers[dice.below(self.servers.len() as u64) as usize];
            let request = self.http.post(format!("http://{server}/api/v1/builds"));
            let body = serde_json::json!({ "plan": plan });
            let answer = request.header("idempotency-key", key).json(&body).send().await;
            if let Ok(answer) = answer {
                let status = answer.status();
                if matches!(status, StatusCode::OK | StatusCode::CREATED) {
                    if let Ok(Submitted { build, made, .. }) = answer.json().await {
                        return (build, made);
                    }
                } else if !status.is_server_error() {
                    panic!("{status}: {:?}", answer.text().await);
                }
            }
            tokio::time::sleep(Duration::from_millis(dice.between(10, 200))).await;
        }
    }
}
