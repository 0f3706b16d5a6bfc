//! Enrolling, and saying now and then that we are there.

use kiln::{
    CancelToken, Error, ErrorKind, Result, Status,
    port::{Clock, Fleet, Node},
};
use kiln_remote::RemoteFleet;
use std::{sync::Arc, time::Duration};

/// How often the server hears of us.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// The first and the longest wait for a server that is away.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Makes a call until the trouble has passed; says once that it waits, and once that it is over.
pub(crate) async fn until_there<T, F: Future<Output = Result<T>>>(
    what: &'static str,
    call: impl Fn() -> F,
) -> Result<T> {
    let (mut wait, mut said) = (WAITS.0, false);
    loop {
        match call().await {
            Err(e) if e.retry_status() != Status::Permanent => {
                if !said {
                    tracing::warn!(error = ?e, "waiting for {what}");
                }
                said = true;
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(WAITS.1);
            }
            answer => {
                if said && answer.is_ok() {
                    tracing::info!("{what} is there");
                }
                return answer;
            }
        }
    }
}

/// Who says that we are there.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pub(crate) fleet: RemoteFleet,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node: Node,
}

impl Beat {
    /// Makes the node known; waits for a server that is away.
    pub(crate) async fn enrol(&self) -> Result<()> {
        until_there("the server", async || {
            let node = Node { seen_at: self.clock.now(), ..self.node.clone() };
            self.fleet.enrol(&node).await
        })
        .await
        .map_err(refused)
    }

    /// Beats until it is told to stop; returns whether the node was drained by then.
    ///
    /// A node that the server does not know enrols again: it may have lost its memory. Who wants to
    /// be rid of a node drains it, or removes its token.
    pub(crate) async fn work(&self, until: CancelToken) -> Result<bool> {
        let mut drained = false;
        loop {
            let beat = async || self.fleet.beat_and_hear(&self.node.id, self.clock.now()).await;
            let heard = match until.race(until_there("the server", beat)).await {
                Err(_) => return Ok(drained),
                Ok(heard) => heard,
            };
            match heard {
                Ok(now) if now != drained => {
                    drained = now;
                    tracing::info!(drained, "heard from the server");
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    tracing::info!("the server does not know this node: enrolled again");
                    Self { node: Node { drained, ..self.node.clone() }, ..self.clone() }
                        .enrol()
                        .await?;
                }
                Err(e) if is_final(&e) => return Err(refused(e)),
                Err(e) => tracing::warn!(error = ?e, "the server takes no beat"),
            }
            if until.race(tokio::time::sleep(BEAT_EVERY)).await.is_err() {
                return Ok(drained);
            }
        }
    }
}

/// Whether a server that says this does not want us, or does not understand us.
pub(crate) fn is_final(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Denied | ErrorKind::Unsupported | ErrorKind::Invalid)
}

/// Says what to do about a refusal, where the server did not.
pub(crate) fn refused(e: Error) -> Error {
    match (e.kind(), e.hint_text()) {
        (ErrorKind::Denied, None) => {
            e.hint("Make a token for agents: kiln-server token create NAME --scope agent.")
        }
        _ => e,
    }
}
