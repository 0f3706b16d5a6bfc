//! Workers that take builds from a queue.

use crate::machine::{Machine, commands};
use futures::future::BoxFuture;
use kiln::{
    BuildId, CancelToken, Error, ErrorKind, Event, Owner, Result, StopReason, Submission, Worker,
    layer::{Around, Call, Layered},
    memory::MemoryQueue,
    port::{Job, Queue},
};
use kiln_conformance::sample::node;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Every second call comes back as this error.
#[derive(Clone, Debug)]
struct Broken(Arc<AtomicU64>, ErrorKind);

impl Around for Broken {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        match self.0.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Err(Error::new(self.1, call.op, "the queue is broken")),
            _ => work().await,
        }
    }
}

async fn queued(m: &Machine, queue: &dyn Queue) -> Vec<BuildId> {
    let mut builds = Vec::new();
    for script in ["true", "false", "sleep 20"] {
        let build = m.engine.accept(Submission::new(commands(&[script]))).await.unwrap();
        queue.push(Job::new(build.clone(), Owner::local())).await.unwrap();
        builds.push(build);
    }
    builds
}

/// Works until all builds are finished.
async fn work(m: &Machine, queue: Arc<dyn Queue>, builds: &[BuildId]) -> Result<()> {
    let worker = Worker::new(m.engine.clone(), queue, node("n", 1));
    let stop = CancelToken::new();
    let watch = async {
        for build in builds {
            m.until(build, |e| matches!(e, Event::Finished { .. })).await;
        }
        stop.cancel(StopReason::Cancel);
    };
    tokio::join!(worker.run(stop.clone()), watch).0
}

#[test]
fn a_worker_drives_what_is_queued() {
    kiln_conformance::run("worker", async {
        let (m, queue) = (Machine::new(), Arc::new(MemoryQueue::default()));
        let builds = queued(&m, &*queue).await;
        work(&m, queue.clone(), &builds).await.unwrap();
        assert_eq!(m.engine.unfinished().await.unwrap(), []);
    });
}

#[test]
fn a_worker_outlives_an_outage_of_its_queue() {
    kiln_conformance::run("worker", async {
        let (m, queue) = (Machine::new(), Arc::new(MemoryQueue::default()));
        let builds = queued(&m, &*queue).await;
        let broken = Broken(Arc::default(), ErrorKind::Unavailable);
        work(&m, Arc::new(Layered::new(queue, broken)), &builds).await.unwrap();
        assert_eq!(m.engine.unfinished().await.unwrap(), []);
    });
}

#[test]
fn a_worker_ends_with_an_error_that_does_not_pass() {
    kiln_conformance::run("worker", async {
        let (m, queue) = (Machine::new(), Arc::new(MemoryQueue::default()));
        let broken = Broken(Arc::default(), ErrorKind::Denied);
        let refused = work(&m, Arc::new(Layered::new(queue, broken)), &[]).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
    });
}
