use crate::dir::Identity;
use kiln::port::Offset;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many places are remembered.
const PLACES_MAX: usize = 1024;

/// Where in a file an offset stands, so that whoever reads on need not search.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<(Identity, Offset), u64>>);

impl Places {
    fn all(&self) -> MutexGuard<'_, HashMap<(Identity, Offset), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, file: Identity, at: Offset) -> Option<u64> {
        self.all().get(&(file, at)).copied()
    }

    pub(super) fn remember(&self, file: Identity, at: Offset, place: u64) {
        let mut all = self.all();
        if all.len() >= PLACES_MAX {
            all.clear();
        }
        all.insert((file, at), place);
    }
}
