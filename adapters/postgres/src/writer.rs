//! Writes. While one transaction is on its way, writes gather; the next one takes them all, sent in
//! one go, and one wait for the disk serves them all.

use crate::{
    error::Fault,
    lines::{Lines, Param, in_time, plain},
};
use deadpool_postgres::Object;
use futures::{
    FutureExt,
    future::{BoxFuture, MaybeDone, maybe_done},
    poll,
};
use kiln::Result;
use std::{pin::Pin, sync::Arc};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::Row;

/// How many writes share a transaction at most: a bound for how long the first waits.
const MOST: usize = 256;

/// The way to the tasks that write, which end with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Writer(mpsc::UnboundedSender<Task>);

/// One statement on its way.
struct Task {
    /// What it locks, so that all transactions lock in one order.
    key: String,
    sql: &'static str,
    params: Vec<Param>,
    answer: oneshot::Sender<Result<Vec<Row>, Arc<Fault>>>,
}

impl Writer {
    /// Starts so many tasks, each with one transaction at a time. `lines` has a connection for each.
    pub(crate) fn start(lines: &Lines, tasks: usize) -> Self {
        let (writes, todo) = mpsc::unbounded_channel();
        let todo = Arc::new(Mutex::new(todo));
        for _ in 0..tasks {
            tokio::spawn(work(lines.clone(), todo.clone()));
        }
        Self(writes)
    }

    /// Runs a statement in a transaction of its own or one that it shares. It is durable when this
    /// returns; a call that is dropped before its turn came does nothing.
    pub(crate) async fn write(
        &self,
        op: &'static str,
        key: &str,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<Row>> {
        let (answer, answered) = oneshot::channel();
        let task = Task { key: key.to_owned(), sql, params, answer };
        let rows = match self.0.send(task) {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(Arc::new(Fault::Ended))),
            Err(_) => Err(Arc::new(Fault::Ended)),
        };
        rows.map_err(|fault| fault.told(op))
    }
}

async fn work(lines: Lines, todo: Arc<Mutex<mpsc::UnboundedReceiver<Task>>>) {
    loop {
        let mut batch = Vec::new();
        if todo.lock().await.recv_many(&mut batch, MOST).await == 0 {
            return;
        }
        batch.retain(|t| !t.answer.is_closed());
        // Whoever drove one build has its writes in the order of its statements; which of two
        // drivers is first is nobody's promise.
        batch.sort_by(|a, b| (&a.key, a.sql).cmp(&(&b.key, b.sql)));
        match in_time(commit(&lines, &batch)).await {
            Ok(rows) => answer(batch, rows),
            // What one statement brought down the others did not deserve.
            Err(fault) if batch.len() > 1 && fault.is_of_a_statement() => {
                for task in batch {
                    let alone = [task];
                    let came = in_time(commit(&lines, &alone)).await;
                    let [task] = alone;
                    let rows = came.map(|mut rows| rows.pop().unwrap_or_default());
                    // Whoever asked may be gone; the work is done all the same.
                    let _ = task.answer.send(rows.map_err(Arc::new));
                }
            }
            Err(fault) => {
                let fault = Arc::new(fault);
                for task in batch {
                    let _ = task.answer.send(Err(fault.clone()));
                }
            }
        }
    }
}

fn answer(batch: Vec<Task>, rows: Vec<Vec<Row>>) {
    for (task, rows) in batch.into_iter().zip(rows) {
        let _ = task.answer.send(Ok(rows));
    }
}

/// Runs all statements in one transaction. An error says that nothing of any of them is stored, or
/// that nobody knows.
async fn commit(lines: &Lines, batch: &[Task]) -> Result<Vec<Vec<Row>>, Fault> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let line = lines.line().await?;
    let mut guard = Unless(Some(line));
    let Some(line) = guard.0.as_ref() else { return Err(Fault::Ended) };
    let mut statements = Vec::with_capacity(batch.len());
    for task in batch {
        statements.push(line.prepare_cached(task.sql).await?);
    }
    let mut sent: Vec<Sent<'_>> = Vec::with_capacity(batch.len() + 2);
    let alone = batch.len() == 1;
    let say =
        |sql| maybe_done(line.batch_execute(sql).map(|done| Ok(done.map(|()| vec![])?)).boxed());
    if !alone {
        sent.push(say("BEGIN"));
    }
    for (task, statement) in batch.iter().zip(&statements) {
        let query = async move {
            let params: Vec<_> = task.params.iter().map(plain).collect();
            Ok(line.query(statement, &params).await?)
        };
        sent.push(maybe_done(query.boxed()));
    }
    if !alone {
        sent.push(say("COMMIT"));
    }
    let mut rows = all(sent).await?;
    if !alone {
        rows.remove(0);
        rows.pop();
    }
    guard.0.take();
    Ok(rows)
}

/// A statement that is sent when it is polled first.
type Sent<'a> = MaybeDone<BoxFuture<'a, Result<Vec<Row>, Fault>>>;

/// Sends all in their order, and waits for all their answers. The error is the first.
async fn all(mut sent: Vec<Sent<'_>>) -> Result<Vec<Vec<Row>>, Fault> {
    for one in &mut sent {
        // An answer that came already is kept.
        let _ = poll!(&mut *one);
    }
    let mut rows = Vec::with_capacity(sent.len());
    let mut failed = None;
    for mut one in sent {
        (&mut one).await;
        match Pin::new(&mut one).take_output() {
            Some(Ok(answer)) => rows.push(answer),
            Some(Err(fault)) => failed = failed.or(Some(fault)),
            None => failed = failed.or(Some(Fault::Ended)),
        }
    }
    failed.map_or(Ok(rows), Err)
}

/// A connection that is closed when dropped, unless it was taken out: nobody shall find it in the
/// middle of what timed out.
struct Unless(Option<Object>);

impl Drop for Unless {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}
