use crate::BuildId;
use futures::{
    channel::oneshot,
    future::{FutureExt, Map},
};
use std::sync::{Mutex, PoisonError};

/// Who waits for logs that may move away under them.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<(BuildId, oneshot::Sender<()>)>>);

/// Ends when the log moved. It never ends otherwise: whoever waits, waits for something else too.
pub(super) type Moved = Map<oneshot::Receiver<()>, fn(Result<(), oneshot::Canceled>)>;

impl Waiting {
    pub(super) fn join(&self, build: &BuildId) -> Moved {
        let (sender, receiver) = oneshot::channel();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, sender)| !sender.is_canceled());
        all.push((build.clone(), sender));
        receiver.map(drop)
    }

    pub(super) fn tell(&self, build: &BuildId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, sender) in all.extract_if(.., |(of, _)| of == build) {
            // Whoever has gone meanwhile need not know.
            let _ = sender.send(());
        }
    }
}
