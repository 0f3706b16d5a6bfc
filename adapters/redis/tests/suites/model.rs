//! The queue against the reference: whatever is asked in whatever order, both say the same.

use crate::{
    common::{build, job, node},
    server::Server,
};
use kiln::{
    NodeId, Placement, Resources, Timestamp,
    memory::{MemoryQueue, VirtualClock},
    port::{Clock, Job, Lease, Node, Queue, Settlement},
};
use kiln_conformance::run;
use kiln_redis::RedisQueue;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        // SplitMix64, Steele and others 2014.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn job(&mut self, now: Timestamp) -> Job {
        let mut labels = BTreeMap::new();
        if self.below(4) == 0 {
            labels.insert("arch".to_owned(), ["arm", "x86"][self.below(2) as usize].to_owned());
        }
        let resources = Resources {
            cpu_millis: [0, 0, 400, 900][self.below(4) as usize],
            memory_bytes: [0, 0, 3 << 30][self.below(3) as usize],
        };
        let node = (self.below(8) == 0).then(|| NodeId::new("n1").unwrap());
        let mut limits = BTreeMap::new();
        for group in ["g0", "g1"] {
            if self.below(5) == 0 {
                limits.insert(group.to_owned(), self.below(3) as u32);
            }
        }
        let delay = [0, 0, 0, 20, 90][self.below(5) as usize];
        Job {
            priority: self.below(3) as i32 - 1,
            placement: Placement { node, labels, resources },
            limits,
            not_before: now.plus(Duration::from_millis(delay)),
            ..job(&format!("b{}", self.below(40)), &format!("o{}", self.below(5)))
        }
    }

    fn node(&mut self) -> Node {
        let i = self.below(3);
        let mut node = node(&format!("n{i}"), 1 + 3 * i as u16);
        if i > 0 {
            node.labels.insert("arch".into(), ["arm", "x86"][i as usize - 1].into());
            node.resources = Resources { cpu_millis: 1000, memory_bytes: 8 << 30 };
        }
        node.drained = self.below(20) == 0;
        node
    }
}

/// What a call came to, without the numbers that differ.
fn plain<T>(result: kiln::Result<T>, of: impl Fn(T) -> String) -> String {
    result.map_or_else(|e| format!("{:?}", e.kind()), of)
}

fn leased(lease: &Option<Lease>) -> String {
    lease.as_ref().map_or_else(|| "nothing".into(), |l| format!("{:?} until {}", l.job, l.until.0))
}

async fn play(seed: u64, mine: &RedisQueue, reference: &MemoryQueue, clock: &VirtualClock) {
    let mut dice = Dice(seed);
    // Leases that either queue gave for the same question, whether they still count or not.
    let mut leases: Vec<(Lease, Lease)> = Vec::new();
    for step in 0..400 {
        let ttl = Duration::from_millis(30 + dice.below(100));
        let pick = (!leases.is_empty()).then(|| dice.below(leases.len() as u64) as usize);
        let (a, b) = match (dice.below(12), pick) {
            (0..=3, _) => {
                let job = dice.job(clock.now());
                let (a, b) = (mine.push(job.clone()).await, reference.push(job).await);
                (plain(a, |()| "pushed".into()), plain(b, |()| "pushed".into()))
            }
            (4..=7, _) => {
                let node = dice.node();
                let a = mine.lease(&node, ttl, Duration::ZERO).await;
                let b = reference.lease(&node, ttl, Duration::ZERO).await;
                if let (Ok(Some(a)), Ok(Some(b))) = (&a, &b) {
                    leases.push((a.clone(), b.clone()));
                }
                (plain(a, |l| leased(&l)), plain(b, |l| leased(&l)))
            }
            (8, Some(i)) => {
                let a = mine.renew(&leases[i].0, ttl).await;
                let b = reference.renew(&leases[i].1, ttl).await;
                (plain(a, |l| leased(&Some(l))), plain(b, |l| leased(&Some(l))))
            }
            (9, Some(i)) => {
                let again = clock.now().plus(Duration::from_millis(dice.below(3) * 25));
                let how = [Settlement::Done, Settlement::Again(again)][dice.below(2) as usize];
                let a = mine.settle(&leases[i].0, how).await;
                let b = reference.settle(&leases[i].1, how).await;
                (plain(a, |()| "settled".into()), plain(b, |()| "settled".into()))
            }
            (10, _) => {
                let b = build(&format!("b{}", dice.below(40)));
                let (a, b) = (mine.remove(&b).await, reference.remove(&b).await);
                (plain(a, |there| there.to_string()), plain(b, |there| there.to_string()))
            }
            _ => {
                clock.advance(Duration::from_millis(dice.below(60)));
                continue;
            }
        };
        assert_eq!(a, b, "step {step} of seed {seed}");
    }
}

#[test]
fn it_does_what_the_reference_does() {
    let Some(server) = Server::start(&["--appendonly", "no"]) else { return };
    run("it_does_what_the_reference_does", async {
        let first = u64::from_str_radix(&kiln::BuildId::random().as_str()[..15], 16).unwrap();
        for seed in first..first + 12 {
            let prefix = format!("kiln{seed}:");
            let config = server.config().prefix(&prefix).unwrap();
            let db = kiln_redis::RedisDb::connect(config).await.unwrap();
            let clock = VirtualClock::at(Timestamp(1_000_000));
            let shared: Arc<dyn Clock> = Arc::new(clock.clone());
            let mine = RedisQueue::with_clock(&db, shared.clone());
            play(seed, &mine, &MemoryQueue::with_clock(shared), &clock).await;
        }
    });
}
