//! Reads that many share. However many followers wait at the end of a log, what comes is read once
//! for all of them, or twice where some asked while others were being answered.

use crate::error::copied;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use kiln::{BuildId, Error, Result, port::LogPage};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many places may be known before those are dropped that nobody reads.
const PLACES_MAX: usize = 1024;

/// A build, an offset in its log, and how many bytes from there.
pub(crate) type Place = (BuildId, u64, usize);
type Flight = BoxFuture<'static, Result<LogPage, Arc<Error>>>;

/// The reads under way.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Place, Slot>>);

/// The reads of one place: one at a time, and one that waits for it and that others may join.
#[derive(Default)]
struct Slot {
    turn: Arc<tokio::sync::Mutex<()>>,
    next: Option<WeakShared<Flight>>,
}

impl Flights {
    fn slots(&self) -> MutexGuard<'_, HashMap<Place, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read of a place that begins after this call, so that it sees all that was there before.
    pub(crate) async fn join(
        self: &Arc<Self>,
        place: Place,
        read: impl Future<Output = Result<LogPage>> + Send + 'static,
    ) -> Result<LogPage> {
        let flight = self.next(place, read);
        flight.await.map_err(|e| copied(&e))
    }

    fn next(
        self: &Arc<Self>,
        place: Place,
        read: impl Future<Output = Result<LogPage>> + Send + 'static,
    ) -> Shared<Flight> {
        let mut slots = self.slots();
        if slots.len() >= PLACES_MAX {
            slots.retain(|_, slot| Arc::strong_count(&slot.turn) > 1);
        }
        let slot = slots.entry(place.clone()).or_default();
        if let Some(next) = slot.next.as_ref().and_then(WeakShared::upgrade) {
            return next;
        }
        let (all, turn) = (self.clone(), slot.turn.clone());
        let flight = async move {
            let _turn = turn.lock().await;
            // Whoever comes from now on needs a later one.
            if let Some(slot) = all.slots().get_mut(&place) {
                slot.next = None;
            }
            read.await.map_err(Arc::new)
        };
        let flight = flight.boxed().shared();
        slot.next = flight.downgrade();
        flight
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("places", &self.slots().len()).finish()
    }
}
