//! What a receiver hears of builds, whoever dies between an event and its delivery.

use crate::machine::commands;
use async_trait::async_trait;
use kiln::{
    BuildId, CancelToken, Courier, Engine, Error, ErrorKind, Event, NodeId, NotifierName,
    Notifiers, Outbox, Result, Seq, StopReason, Submission, Timestamp,
    memory::{MemoryQueue, MemoryStore, VirtualClock},
    port::{Clock, Notice, Notifier, Queue, Store},
};
use kiln_conformance::{
    Time,
    sample::{accepted, build, entries, node},
};
use kiln_sqlite::SqliteDb;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

const MINUTE: Duration = Duration::from_secs(60);

/// What a receiver answers to one notice.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// It takes the notice, and its answer is lost.
    Mute,
    Broken,
    Refuses,
    Hangs,
}

/// A receiver that answers as it is told, and takes everything after that.
#[derive(Debug, Default)]
struct Receiver {
    answers: Mutex<VecDeque<Answer>>,
    heard: Mutex<Vec<(BuildId, u64)>>,
}

#[async_trait]
impl Notifier for Receiver {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        assert_eq!(notice.build.seq, notice.seq, "the build is not as it was then");
        let answer = self.answers.lock().unwrap().pop_front();
        if matches!(answer, None | Some(Answer::Mute)) {
            self.heard.lock().unwrap().push((notice.build.build.clone(), notice.seq.0));
        }
        let kind = match answer {
            None => return Ok(()),
            Some(Answer::Hangs) => std::future::pending().await,
            Some(Answer::Mute) => ErrorKind::Timeout,
            Some(Answer::Broken) => ErrorKind::Unavailable,
            Some(Answer::Refuses) => ErrorKind::Invalid,
        };
        Err(Error::new(kind, "Notifier::notify", "as it was told"))
    }

    fn wants(&self, event: &Event) -> bool {
        !matches!(event, Event::StepSkipped { .. })
    }
}

/// Servers that share a store and a queue, and whose clock the test moves.
struct Servers {
    clock: VirtualClock,
    store: Arc<MemoryStore>,
    queue: Arc<MemoryQueue>,
    receiver: Arc<Receiver>,
    notifiers: Notifiers,
    engine: Engine,
}

impl Servers {
    fn answering(answers: &[Answer]) -> Self {
        let clock = VirtualClock::at(Timestamp(1_000_000));
        let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
        let queue = Arc::new(MemoryQueue::with_clock(Arc::new(clock.clone())));
        let receiver = Arc::new(Receiver {
            answers: Mutex::new(answers.to_vec().into()),
            ..Receiver::default()
        });
        let name = NotifierName::new("ci").unwrap();
        let named: BTreeMap<_, Arc<dyn Notifier>> = BTreeMap::from([(name, receiver.clone() as _)]);
        let notifiers: Notifiers = Arc::new(named);
        let outbox = Outbox::new(store.clone(), queue.clone(), notifiers.clone());
        let engine =
            Engine::builder().store(Arc::new(outbox)).clock(Arc::new(clock.clone())).build();
        Self { clock, store, queue, receiver, notifiers, engine }
    }

    fn courier(&self, name: &str) -> Courier {
        let (store, queue) = (self.store.clone(), self.queue.clone());
        let clock = Arc::new(self.clock.clone());
        Courier::new(NodeId::new(name).unwrap(), store, queue, self.notifiers.clone(), clock)
    }

    /// A build whose journal is: accepted, to be cancelled, skipped, finished.
    async fn finished(&self, name: &str) {
        let submission = Submission::new(commands(&["true"])).id(build(name));
        self.engine.accept(submission).await.unwrap();
        self.engine.cancel(&build(name), "enough", true).await.unwrap();
    }

    /// Lets couriers work until a receiver heard so much, or for so long at most.
    async fn work(&self, couriers: &[Courier], hears: usize, max: Duration) {
        let (stop, ends) = (CancelToken::new(), self.clock.now().plus(max));
        let nap = (max / 120).max(Duration::from_millis(500));
        let run = futures::future::join_all(couriers.iter().map(|c| c.run(stop.clone())));
        let watch = async {
            while self.heard().len() < hears && self.clock.now() < ends {
                self.clock.sleep(nap).await;
            }
            stop.cancel(StopReason::Cancel);
        };
        let time = Time::from(self.clock.clone());
        let (ran, ()) = time.hurry(async { tokio::join!(run, watch) }).await;
        ran.into_iter().for_each(|r| r.unwrap());
    }

    fn heard(&self) -> Vec<(BuildId, u64)> {
        self.receiver.heard.lock().unwrap().clone()
    }

    fn heard_of(&self, name: &str) -> Vec<u64> {
        self.heard().into_iter().filter(|(b, _)| *b == build(name)).map(|(_, seq)| seq).collect()
    }

    /// Whether nothing is left to be delivered.
    async fn all_is_done(&self) -> bool {
        let mut anybody = node("other", 9);
        anybody.labels.insert(kiln::courier::COURIER_LABEL.into(), "1".into());
        self.clock.advance(Duration::from_secs(3600));
        self.queue.lease(&anybody, MINUTE, Duration::ZERO).await.unwrap().is_none()
    }
}

fn run(test: impl Future<Output = ()>) {
    kiln_conformance::run("courier", test);
}

#[test]
fn what_happened_while_no_courier_lived_is_told_in_order() {
    run(async {
        let s = Servers::answering(&[]);
        s.finished("a").await;
        s.work(&[s.courier("late")], 3, MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4], "what nobody wants is not told");
        assert!(s.all_is_done().await);
    });
}

#[test]
fn no_worker_takes_an_errand_for_a_build() {
    run(async {
        let s = Servers::answering(&[]);
        s.finished("a").await;
        let worker = s.queue.lease(&node("worker", 9), MINUTE, Duration::ZERO).await.unwrap();
        assert_eq!(worker, None);
    });
}

#[test]
fn a_receiver_that_was_down_is_told_all_in_order() {
    run(async {
        let s = Servers::answering(&[Answer::Broken; 8]);
        s.finished("a").await;
        s.work(&[s.courier("c")], 3, 60 * MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4]);
        assert!(s.all_is_done().await);
    });
}

#[test]
fn a_notifier_that_never_ends_is_asked_again() {
    run(async {
        let s = Servers::answering(&[Answer::Hangs]);
        s.finished("a").await;
        s.work(&[s.courier("c")], 3, 60 * MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4]);
    });
}

#[test]
fn a_lost_answer_tells_twice_and_keeps_the_order() {
    run(async {
        let s = Servers::answering(&[Answer::Mute]);
        s.finished("a").await;
        s.work(&[s.courier("c")], 4, MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 1, 2, 4]);
    });
}

#[test]
fn what_is_refused_for_good_holds_up_nothing() {
    run(async {
        let s = Servers::answering(&[Answer::Refuses]);
        s.finished("a").await;
        s.work(&[s.courier("c")], 2, MINUTE).await;
        assert_eq!(s.heard_of("a"), [2, 4]);
        assert!(s.all_is_done().await);
    });
}

#[test]
fn what_is_too_old_is_given_up() {
    run(async {
        let s = Servers::answering(&[Answer::Broken; 1000]);
        s.finished("a").await;
        s.work(&[s.courier("c").give_up(10 * MINUTE)], 1, 40 * MINUTE).await;
        assert!(s.heard().is_empty());
        assert!(s.all_is_done().await);
    });
}

#[test]
fn another_courier_goes_on_when_one_dies() {
    run(async {
        let s = Servers::answering(&[Answer::Hangs]);
        s.finished("a").await;
        let (dies, until) = (s.courier("dies"), CancelToken::new());
        let time = Time::from(s.clock.clone());
        let dead = async {
            let (run, nap) = (dies.run(until.clone()), s.clock.sleep(Duration::from_secs(2)));
            tokio::select! { _ = run => panic!("it was to hang"), () = nap => {} }
        };
        time.hurry(dead).await;
        assert!(s.heard().is_empty());
        let died_at = s.clock.now();
        s.work(&[s.courier("lives")], 3, 10 * MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4]);
        assert!(s.clock.now().since(died_at) < MINUTE, "it took longer than a lease");
    });
}

#[test]
fn a_courier_that_stops_leaves_its_errands_to_the_others_at_once() {
    run(async {
        let s = Servers::answering(&[Answer::Hangs]);
        s.finished("a").await;
        s.work(&[s.courier("stops")], 1, Duration::from_secs(2)).await;
        let stopped_at = s.clock.now();
        s.work(&[s.courier("lives")], 3, MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4]);
        assert!(s.clock.now().since(stopped_at) < Duration::from_secs(5));
    });
}

#[test]
fn servers_share_the_errands_and_keep_each_builds_order() {
    run(async {
        let s = Servers::answering(&[Answer::Mute, Answer::Broken, Answer::Mute, Answer::Broken]);
        let names: Vec<_> = (0..40).map(|i| format!("b{i}")).collect();
        for name in &names {
            s.finished(name).await;
        }
        let couriers = ["c1", "c2", "c3"].map(|c| s.courier(c));
        s.work(&couriers, 40 * 3 + 2, 60 * MINUTE).await;
        for name in &names {
            let mut heard = s.heard_of(name);
            assert!(heard.is_sorted(), "{name}: {heard:?}");
            heard.dedup();
            assert_eq!(heard, [1, 2, 4], "{name}");
        }
        assert!(s.all_is_done().await);
    });
}

#[test]
fn what_is_submitted_again_is_not_told_again() {
    run(async {
        let s = Servers::answering(&[]);
        s.finished("a").await;
        s.work(&[s.courier("c")], 3, MINUTE).await;
        let again = Submission::new(commands(&["true"])).id(build("a"));
        let refused = s.engine.accept(again).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        s.work(&[s.courier("c")], 4, 10 * MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4], "a finished build looks accepted again");
    });
}

#[test]
fn an_append_that_never_came_is_waited_for_and_then_forgotten() {
    run(async {
        let s = Servers::answering(&[]);
        s.finished("a").await;
        let outbox = Outbox::new(s.store.clone(), s.queue.clone(), s.notifiers.clone());
        let stale = outbox.append(&build("a"), Seq(99), &entries([accepted()])).await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
        let stale = outbox.append(&build("nobody"), Seq(2), &entries([accepted()])).await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
        s.work(&[s.courier("c")], 99, 30 * MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4]);
        assert!(s.all_is_done().await);
    });
}

#[test]
fn an_event_that_cannot_be_announced_is_not_journalled() {
    run(async {
        let s = Servers::answering(&[]);
        let outbox = Outbox::new(s.store.clone(), Arc::new(NoQueue), s.notifiers.clone());
        let refused = outbox.append(&build("a"), Seq(0), &entries([accepted()])).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
        let known = s.store.load(&build("a"), Seq(0)).await;
        assert_eq!(known.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_notifier_that_a_server_lacks_is_left_to_those_that_have_it() {
    run(async {
        let s = Servers::answering(&[]);
        s.finished("a").await;
        let none = Courier::new(
            NodeId::new("without").unwrap(),
            s.store.clone(),
            s.queue.clone(),
            Notifiers::default(),
            Arc::new(s.clock.clone()),
        );
        s.work(&[none], 1, MINUTE).await;
        assert!(s.heard().is_empty());
        s.work(&[s.courier("with")], 3, 10 * MINUTE).await;
        assert_eq!(s.heard_of("a"), [1, 2, 4]);
    });
}

#[test]
fn errands_outlive_the_process() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let open = || SqliteDb::open(&dir.path().join("kiln.db")).unwrap();
        let named = |receiver: &Arc<Receiver>| -> Notifiers {
            let name = NotifierName::new("ci").unwrap();
            Arc::new(BTreeMap::from([(name, receiver.clone() as Arc<dyn Notifier>)]))
        };
        {
            let (db, down) = (open(), Arc::new(Receiver::default()));
            let outbox = Outbox::new(Arc::new(db.store()), Arc::new(db.queue()), named(&down));
            let engine = Engine::builder().store(Arc::new(outbox)).build();
            for name in ["a", "b"] {
                let submission = Submission::new(commands(&["true"])).id(build(name));
                engine.accept(submission).await.unwrap();
                engine.cancel(&build(name), "enough", true).await.unwrap();
            }
        }
        let (db, receiver) = (open(), Arc::new(Receiver::default()));
        let clock = Engine::builder().build().tools().clock.clone();
        let (store, queue) = (Arc::new(db.store()), Arc::new(db.queue()));
        let name = NodeId::new("c").unwrap();
        let courier = Courier::new(name, store, queue, named(&receiver), clock.clone());
        let stop = CancelToken::new();
        let watch = async {
            while receiver.heard.lock().unwrap().len() < 6 {
                clock.sleep(Duration::from_millis(5)).await;
            }
            stop.cancel(StopReason::Cancel);
        };
        tokio::join!(courier.run(stop.clone()), watch).0.unwrap();
        for name in ["a", "b"] {
            let heard = receiver.heard.lock().unwrap().clone();
            let of: Vec<_> = heard.iter().filter(|(b, _)| *b == build(name)).collect();
            assert_eq!(of.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [1, 2, 4], "{name}");
        }
    });
}

/// A queue that is out of reach.
#[derive(Debug)]
struct NoQueue;

#[async_trait]
impl Queue for NoQueue {
    async fn push(&self, _: kiln::port::Job) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "Queue::push", "the queue is gone"))
    }

    async fn lease(
        &self,
        _: &kiln::port::Node,
        _: Duration,
        _: Duration,
    ) -> Result<Option<kiln::port::Lease>> {
        Ok(None)
    }

    async fn renew(&self, lease: &kiln::port::Lease, _: Duration) -> Result<kiln::port::Lease> {
        Ok(lease.clone())
    }

    async fn settle(&self, _: &kiln::port::Lease, _: kiln::port::Settlement) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, _: &BuildId) -> Result<bool> {
        Ok(false)
    }
}
